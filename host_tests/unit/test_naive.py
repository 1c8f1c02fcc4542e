"""Mutation checks: each promise about samples and crashes is broken once, and its test must notice."""

import inspect
import sys

import firstboot
import machine
import pytest
from firstboot import crash, drain, link, mend, outbox, telemetry
from firstboot.outbox import Outbox

from . import test_crash, test_outbox, test_telemetry


def _removed_before_the_acknowledgement(patch):
    real, done = drain._send, drain._done

    def send(loop, batch, payload):
        done(loop.outbox, batch)
        return real(loop, batch, payload)

    patch.setattr(drain, "_send", send)
    patch.setattr(drain, "_done", lambda box, batch: None)


def _the_newest_dropped_first(patch):
    def write(self):
        if self.segments and self.total + self.bytes > self.budget:
            self.dropped += len(self.waiting)
            self.forget(len(self.waiting))
        real(self)

    real = Outbox.flush
    patch.setattr(Outbox, "flush", write)


def _no_budget(patch):
    real = Outbox.__init__

    def init(self, budget, rest):
        real(self, budget, rest)
        self.budget = 1 << 30

    patch.setattr(Outbox, "__init__", init)


def _drops_not_counted(patch):
    patch.setattr(drain, "count", lambda box: (0, 0))


def _drops_forgotten_at_a_reset(patch):
    patch.setattr(drain, "_told", lambda body: 0)


def _no_crc(patch):
    def body(f, head, left):
        try:
            size = int(head[1:5], 16)
        except ValueError:
            return None
        return f.read(size) if 0 < size <= left else None

    patch.setattr(drain, "_body", body)


def _no_way_past_a_damaged_record(patch):
    real = drain._records

    def records(f, at):
        for body, end in real(f, at):
            yield body, end
            if body is None:
                return

    patch.setattr(drain, "_records", records)


def _every_sample_written_at_once(patch):
    patch.setattr(Outbox, "step", Outbox.flush)


def _everything_kept_in_memory(patch):
    patch.setattr(Outbox, "flush", lambda self: None)


def _the_time_when_it_is_sent(patch):
    real = drain._sample
    patch.setattr(drain, "_sample", lambda box, body, ours: real(box, b"," + body.partition(b",")[2], ours))


def _ticks_as_they_are(patch):
    real = Outbox.now
    patch.setattr(Outbox, "now", lambda self: real(self) % (1 << 30))


def _one_time_for_one_moment(patch):
    real = Outbox.add

    def add(self, payload, age=0):
        self.newest = 0
        real(self, payload, age)

    patch.setattr(Outbox, "add", add)


def _limits_ignored(patch):
    real = drain._collect

    def collect(box, most):
        box.limits = None
        return real(box, most)

    patch.setattr(drain, "_collect", collect)


def _an_empty_batch(patch):
    patch.setattr(drain._Batch, "payload", lambda self: b"[]")


def _no_sampling_without_a_server(patch):
    patch.setattr(mend, "tick", lambda loop: None)


def _only_between_two_tries(patch):
    real = firstboot.feed

    def feed():
        if sys._getframe(1).f_code.co_name == "pause":
            real()

    for module in (firstboot, telemetry, link):
        patch.setattr(module, "feed", feed)


def _a_sample_dropped_with_its_connection(patch):
    real = mend.lost

    def lost(loop, error):
        loop.sample = None
        real(loop, error)

    patch.setattr(mend, "lost", lost)


def _poison_for_ever(patch):
    patch.setattr(drain, "_POISON", 1 << 30)


def _any_close_is_poison(patch):
    real = drain.drain

    def count(loop, host, port):
        loop.outbox.tries += loop.outbox.tries > 0  # also where not even an empty message came through
        real(loop, host, port)

    patch.setattr(drain, "drain", count)


def _nothing_written_in_the_end(patch):
    patch.setattr(mend, "end", lambda loop: setattr(firstboot, "step", None))


def _crashes_counted_in_memory(patch):
    patch.setattr(crash, "_write", lambda count, report: None)


def _safe_mode_for_ever(patch):
    patch.setattr(machine, "reset_cause", lambda: machine.WDT_RESET)


def _never_cleared(patch):
    patch.setattr(crash, "clear", lambda: None)


OUTBOX, LOOP, CRASH = test_outbox, test_telemetry, test_crash
NAIVE = [
    (_removed_before_the_acknowledgement, OUTBOX.test_what_is_not_acknowledged_stays, {}),
    (_removed_before_the_acknowledgement, OUTBOX.test_a_reset_in_the_middle_of_draining_costs_no_sample, {}),
    (_the_newest_dropped_first, OUTBOX.test_the_budget_holds_and_the_oldest_go_first, {"budget": 8192}),
    (_no_budget, OUTBOX.test_the_budget_holds_and_the_oldest_go_first, {"budget": 8192}),
    (_drops_not_counted, OUTBOX.test_the_budget_holds_and_the_oldest_go_first, {"budget": 8192}),
    (_drops_forgotten_at_a_reset, OUTBOX.test_what_was_dropped_before_a_reset_is_told_after_it, {}),
    (_drops_forgotten_at_a_reset, OUTBOX.test_drops_are_counted_over_several_resets, {}),
    (_no_crc, OUTBOX.test_a_damaged_byte_costs_one_record_only, {"kind": "bit"}),
    (_no_way_past_a_damaged_record, OUTBOX.test_a_damaged_byte_costs_one_record_only, {"kind": "zero"}),
    (_every_sample_written_at_once, OUTBOX.test_writes_are_no_more_than_promised, {}),
    (_every_sample_written_at_once, OUTBOX.test_what_comes_faster_is_written_by_the_kib, {}),
    (_everything_kept_in_memory, OUTBOX.test_the_first_sample_of_an_outage_is_safe_at_once, {}),
    (_everything_kept_in_memory, OUTBOX.test_what_one_boot_could_not_send_the_next_one_does, {}),
    (_the_time_when_it_is_sent, OUTBOX.test_samples_come_out_in_order_with_their_times, {}),
    (_ticks_as_they_are, OUTBOX.test_ticks_that_wrap_are_no_news, {}),
    (_one_time_for_one_moment, OUTBOX.test_samples_of_the_same_moment_have_times_of_their_own, {}),
    (_limits_ignored, OUTBOX.test_the_servers_limits_are_kept, {}),
    (_limits_ignored, OUTBOX.test_data_points_are_paced_and_never_more_than_the_bucket_holds, {}),
    (_an_empty_batch, OUTBOX.test_samples_come_out_in_order_with_their_times, {}),
    (_no_sampling_without_a_server, LOOP.test_samples_are_taken_on_time_while_the_server_is_away, {}),
    (_only_between_two_tries, LOOP.test_read_goes_on_during_a_long_join, {}),
    (_a_sample_dropped_with_its_connection, LOOP.test_a_lost_connection_loses_no_sample, {}),
    (_poison_for_ever, LOOP.test_a_poisonous_sample_is_dropped_counted_and_told, {}),
    (_any_close_is_poison, LOOP.test_a_server_that_closes_on_everything_for_long_is_no_poison, {}),
    (_nothing_written_in_the_end, LOOP.test_what_waits_in_memory_is_written_before_the_loop_ends, {}),
    (_crashes_counted_in_memory, CRASH.test_five_in_a_row_leave_the_app_out_until_the_next_power_up, {"cause": 3}),
    (_safe_mode_for_ever, CRASH.test_five_in_a_row_leave_the_app_out_until_the_next_power_up, {"cause": 3}),
    (_never_cleared, CRASH.test_a_minute_breaks_the_row, {}),
    (_never_cleared, LOOP.test_a_boot_that_lives_for_a_minute_is_no_crash, {}),
]


IDS = [f"{naive.__name__[1:]}-{i}" for i, (naive, _, _) in enumerate(NAIVE)]


@pytest.mark.parametrize(("naive", "test", "given"), NAIVE, ids=IDS)
def test_a_naive_variant_is_noticed(naive, test, given, monkeypatch, capsys):
    module = sys.modules[test.__module__]
    clock = None
    if hasattr(module, "Clock"):
        clock = module.Clock(monkeypatch)
    if module is LOOP:
        LOOP.Link.clock = clock
    if module is OUTBOX:
        monkeypatch.setattr(drain, "tick", lambda loop: loop.tick())
        monkeypatch.setattr(drain, "report", lambda loop: loop.report())
        OUTBOX.answer_limits(monkeypatch)
    fixtures = {"clock": clock, "monkeypatch": monkeypatch, "capsys": capsys, **given}
    wanted = {name: fixtures[name] for name in inspect.signature(test).parameters}
    naive(monkeypatch)
    _keep_modules(monkeypatch)
    try:
        with pytest.raises(AssertionError):
            test(**wanted)
    finally:
        firstboot.step = None


def _keep_modules(patch):
    # Errands import their module anew: they shall find the naive one.
    import firstboot

    def forget(name):
        pass

    patch.setattr(firstboot, "forget", forget)
    for module in (crash, drain, mend, outbox):
        patch.setitem(sys.modules, module.__name__, module)
        patch.setattr(firstboot, module.__name__.partition(".")[2], module, raising=False)
