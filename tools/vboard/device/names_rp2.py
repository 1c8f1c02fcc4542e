# The rest of names.py's, for which an ESP32 has names of its modules esp32 and partition.

# fmt: off
def never():
    return (
        z98, z99, z9a, z9b, z9c, z9d, z9e, z9f, za0, za1, za2, za3, za4, za5, za6, za7, za8, za9, zaa, zab, zac, zad,
        zae, zaf, zb0, zb1, zb2, zb3, zb4, zb5, zb6, zb7, zb8, zb9, zba, zbb, zbc, zbd, zbe, zbf, zc0, zc1, zc2, zc3,
        zc4, zc5, zc6, zc7, zc8, zc9, zca, zcb, zcc, zcd,
    )
