#include "train/schedule.h"

double fv_power(double base, uint64_t n) {
    double result = 1;
    for (; n; n >>= 1, base *= base)
        if (n & 1) result *= base;
    return result;
}

/* cos(pi x) for x in [0, 1]: the Taylor series on [0, 1/2], mirrored; error below 1e-15. */
static double cos_pi(double x) {
    const double sign = x > 0.5 ? -1 : 1, a = 3.14159265358979323846 * (x > 0.5 ? 1 - x : x), z = a * a;
    double sum = 1, term = 1;
    for (int k = 1; k <= 10; k++) {
        term *= -z / ((2 * k - 1) * (2 * k));
        sum += term;
    }
    return sign * sum;
}

double fv_schedule_lr(const fv_trainer_settings *s, int64_t step) {
    double lr = (double)s->lr;
    if (step < s->warmup_steps) return lr * (double)(step + 1) / (double)s->warmup_steps;
    switch (s->schedule) {
    case FV_SCHEDULE_CONSTANT: break;
    case FV_SCHEDULE_STEP:
        lr *= fv_power((double)s->schedule_factor, (uint64_t)(step / s->schedule_step));
        break;
    case FV_SCHEDULE_COSINE: {
        const double length = (double)(s->total_steps - s->warmup_steps), at = (double)(step - s->warmup_steps);
        lr *= length <= 0 || at >= length ? 0 : 0.5 * (1 + cos_pi(at / length));
        break;
    }
    }
    return lr;
}
