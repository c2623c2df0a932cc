/* Log-linear buckets: 64 to each power of two, so that a quantile is right within 1.6 %. */
#include "load.h"

static unsigned bucket_of(uint64_t value) {
    if (value < 64) {
        return (unsigned)value;
    }
    unsigned power = 63U - (unsigned)__builtin_clzll(value);
    unsigned bucket = (power - 5) * 64 + (unsigned)((value >> (power - 6)) - 64);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t lowest_of(unsigned bucket) {
    if (bucket < 64) {
        return bucket;
    }
    return (uint64_t)(bucket % 64 + 64) << (bucket / 64 - 1);
}

void histogram_add(struct histogram *histogram, uint64_t nanoseconds) {
    histogram->buckets[bucket_of(nanoseconds)]++;
    histogram->count++;
}

double histogram_quantile_ms(const struct histogram *histogram, double quantile) {
    uint64_t wanted = (uint64_t)(quantile * (double)histogram->count);
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen > wanted) {
            return (double)lowest_of(bucket) / 1e6;
        }
    }
    return 0;
}
