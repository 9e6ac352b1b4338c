// The only C++ of the project: rows kernel x shape x ISA handed to Google Benchmark.
//
// An iteration is a slice of some milliseconds of the kernel followed by a slice of multiply-adds from registers, so that the
// share of the FMA peak compares neighbours in time: on a machine shared with others nothing else is worth printing. Rows
// that say what they move have a slice of copying as many bytes within as large a working set beside them, and are given in
// times their bound: the longer of that copy and of their FLOPs at the peak. Seconds are the thread's own. Counters are
// medians over the iterations: GFLOPS and peak_%, or GBps; x_bound; x_peer, the seconds of another library over ours where
// one does the same row; x_scalar.
#include "bench.h"

#include "fovea.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <string>
#include <vector>

namespace {

int rounds = 25;
double slice_seconds = 0.004;

double now() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double median(std::vector<double> v) {
    if (v.empty()) return 0;
    std::nth_element(v.begin(), v.begin() + (long)(v.size() / 2), v.end());
    return v[v.size() / 2];
}

// Seconds of one call, over so many.
template <class F> double seconds_of(F call, size_t runs) {
    const double began = now();
    for (size_t i = 0; i < runs; i++) call();
    return (now() - began) / (double)runs;
}

template <class F> size_t runs_a_slice(F call, double slice = slice_seconds) {
    (void)seconds_of(call, 1);
    return (size_t)std::max(1.0, slice / std::max(seconds_of(call, 1), 1e-8));
}

// A copy that reads half of so many bytes and writes the other half.
struct copy_slice {
    std::vector<char> from, to;
    size_t runs = 0;
    explicit copy_slice(double bytes) : from((size_t)bytes / 2, 1), to((size_t)bytes / 2, 2) {
        if (bytes > 0) runs = runs_a_slice([this] { copy(); }, slice_seconds / 4);
    }
    void copy() {
        std::memcpy(to.data(), from.data(), from.size());
        benchmark::ClobberMemory();
    }
    double seconds() {
        return runs ? seconds_of([this] { copy(); }, runs) : 0;
    }
};

// The scalar definition's seconds, measured once a row.
double scalar_seconds(const fv_bench_case &c) {
    static std::map<std::string, double> known;
    const auto found = known.find(c.name);
    if (found != known.end()) return found->second;
    fv_kernels scalar;
    if (!fv_kernels_for("scalar", &scalar)) return 0;
    void *state = c.make(&c, &scalar);
    if (!state) return 0;
    const auto call = [&] { c.run(state); };
    const double first = seconds_of(call, 1);
    std::vector<double> all{first};
    for (int i = 0; i < 4 && first < 0.1; i++) all.push_back(seconds_of(call, runs_a_slice(call)));
    c.drop(state);
    return known[c.name] = median(all);
}

// GFLOP/s of a slice of multiply-adds from registers.
double peak_slice(const fv_measure_kernels &m) {
    float sink = 0;
    const size_t count = (size_t)(1e-3 * 90e9 / m.flops_per_iteration);
    const double began = now();
    m.fma_loop(count, &sink);
    benchmark::DoNotOptimize(sink);
    return 1e-9 * m.flops_per_iteration * (double)count / (now() - began);
}

// Another library's run of the row, if it has one.
struct peer_slice {
    const fv_bench_case &c;
    void *state;
    size_t runs = 0;
    explicit peer_slice(const fv_bench_case &row) : c(row), state(row.make_peer ? row.make_peer(&row) : nullptr) {
        if (state) runs = runs_a_slice([this] { c.run_peer(state); });
    }
    ~peer_slice() {
        if (state) c.drop_peer(state);
    }
    double seconds() {
        return seconds_of([this] { c.run_peer(state); }, runs);
    }
};

void run_row(benchmark::State &bench, fv_bench_case c, const char *isa) {
    fv_kernels kernels;
    if (!fv_kernels_for(isa, &kernels)) return bench.SkipWithError("this CPU lacks the ISA");
    void *state = c.make(&c, &kernels);
    if (!state) return bench.SkipWithError("out of memory");
    const auto call = [&] { c.run(state); };
    const size_t runs = runs_a_slice(call);
    copy_slice copy(c.bytes);
    peer_slice peer(c);
    std::vector<double> seconds, shares, bounds, peers;
    for (auto _ : bench) {
        const double s = seconds_of(call, runs), at_peak = c.flops > 0 ? 1e-9 * c.flops / peak_slice(kernels.measure) : 0;
        seconds.push_back(s);
        shares.push_back(100 * at_peak / s);
        bounds.push_back(s / std::max(copy.seconds(), at_peak));
        if (peer.state) peers.push_back(peer.seconds() / s);
        bench.SetIterationTime(s);
    }
    c.drop(state);
    const double s = median(seconds);
    if (c.flops > 0) {
        bench.counters["GFLOPS"] = 1e-9 * c.flops / s;
        bench.counters["peak_%"] = median(shares);
    } else {
        bench.counters["GBps"] = 1e-9 * c.bytes / s;
    }
    if (c.bytes > 0) bench.counters["x_bound"] = median(bounds);
    if (!peers.empty()) bench.counters["x_peer"] = median(peers);
    if (std::strcmp(isa, "scalar") != 0) bench.counters["x_scalar"] = scalar_seconds(c) / s;
}

void add_row(void *, const fv_bench_case *c) {
    for (const fv_isa *isa = fv_isa_table; isa->name; isa++) {
        if ((fv_cpu_detect() & isa->needs) != isa->needs) continue;
        const int count = std::strcmp(isa->name, "scalar") == 0 ? std::min(rounds, 3) : rounds;
        benchmark::RegisterBenchmark((std::string(c->name) + "/" + isa->name).c_str(), run_row, *c, isa->name)
            ->UseManualTime()
            ->Iterations(count)
            ->Unit(benchmark::kMicrosecond);
    }
}

void print_peak() {
    fv_context *context = nullptr;
    fv_peak peak;
    if (fv_context_create(nullptr, &context) != FV_OK) return;
    if (fv_measure_peak(context, 0.5, &peak) == FV_OK) {
        char text[160];
        std::snprintf(text, sizeof text, "%.1f GFLOP/s at %.3f GHz seen by dependent additions: %.2f a cycle, %s", peak.gflops,
                      peak.clock_ghz, peak.flops_per_cycle, peak.valid ? "valid" : "NOT VALID (below 0.97 x the units' limit)");
        benchmark::AddCustomContext("fma_peak_of_one_core", text);
    }
    fv_context_free(context);
}

} // namespace

int main(int argc, char **argv) {
    std::vector<char *> rest;
    for (int i = 0; i < argc; i++)
        if (std::strncmp(argv[i], "--rounds=", 9) == 0)
            rounds = std::max(1, std::atoi(argv[i] + 9));
        else
            rest.push_back(argv[i]);
    int count = (int)rest.size();
    benchmark::Initialize(&count, rest.data());
    if (benchmark::ReportUnrecognizedArguments(count, rest.data())) return 2;
    print_peak();
    fv_bench_conv(add_row, nullptr);
    fv_bench_conv_pooled(add_row, nullptr);
    fv_bench_depthwise(add_row, nullptr);
    fv_bench_winograd(add_row, nullptr);
    fv_bench_layers(add_row, nullptr);
    fv_bench_local(add_row, nullptr);
    fv_bench_contrast(add_row, nullptr);
    fv_bench_norm(add_row, nullptr);
    fv_bench_activation(add_row, nullptr);
    fv_bench_pool(add_row, nullptr);
    return benchmark::RunSpecifiedBenchmarks() == 0;
}
