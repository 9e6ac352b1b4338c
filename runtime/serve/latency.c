/* The histogram of latencies: buckets four an octave from a microsecond on, found by shifts. */
#include "serve/batcher.h"

#include <math.h>

/* Of v quarters of a microsecond: bucket 0 ends at 4 of them, then every octave has four. */
static size_t bucket_of(uint64_t v) {
    if (v <= 4) return 0;
    const int octave = 63 - __builtin_clzll(v - 1); /* 2^octave < v <= 2^(octave+1), from 2 on */
    const size_t within = (size_t)((v - 1) >> (octave - 2)) & 3;
    const size_t i = (size_t)(octave - 2) * 4 + within + 1;
    return i < FV_LATENCY_BUCKETS ? i : FV_LATENCY_BUCKETS - 1;
}

void fv_latency_count(fv_batcher_stats *s, double seconds) {
    const double quarters = ceil(seconds * 4e6);
    s->latency[quarters < 0x1p62 ? bucket_of(quarters > 0 ? (uint64_t)quarters : 0) : FV_LATENCY_BUCKETS - 1]++;
    s->latency_seconds += seconds;
}

double fv_latency_bound(size_t i) {
    if (i >= FV_LATENCY_BUCKETS - 1) return INFINITY;
    return ldexp((double)(4 + i % 4), (int)(i / 4)) / 4e6;
}

double fv_batcher_percentile(const fv_batcher_stats *s, double share) {
    uint64_t all = 0, seen = 0;
    if (!s) return 0;
    for (size_t i = 0; i < FV_LATENCY_BUCKETS; i++) all += s->latency[i];
    for (size_t i = 0; i < FV_LATENCY_BUCKETS; i++) {
        seen += s->latency[i];
        if (seen && (double)seen >= share * (double)all) return fv_latency_bound(i);
    }
    return 0;
}
