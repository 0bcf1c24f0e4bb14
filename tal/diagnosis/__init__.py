"""Where the performance of temporal detection is lost, and how sure its numbers are. Arrays in, numbers out.

The kinds of errors, the budgets in multiples of G, the normalised mAP and the buckets are those of DETAD (Alwassel et
al., "Diagnosing Error in Temporal Action Detectors", ECCV 2018; HumamAlwassel/DETAD); the question "what if this were
perfect" is that of TIDE (Bolya et al., ECCV 2020).
"""
