/* bench/sim/scenarios.c - the fleet as it was measured or estimated: Llama 3.1 8B at 200 tokens a
 * second on an RTX 5070 and 30 on an M1 Max, BDH at 8 on an ARM cpu (a BDH token is a byte, a
 * transformer's about four). Answers of some 30 tokens: what its agents ask takes 100 to 200 ms. */
#include "bench/sim/scenarios.h"

#include <string.h>

#define LLAMA_CUDA                                                                                 \
    .kind = HW_KIND_OLLAMA, .device = HW_DEVICE_CUDA, .slots = 4, .model = "llama3.1:8b",          \
    .ttft_ms = 30, .prefill_bytes_s = 12000, .decode_bytes_s = 800
#define LLAMA_MPS                                                                                  \
    .kind = HW_KIND_OLLAMA, .device = HW_DEVICE_MPS, .slots = 2, .model = "llama3.1:8b",           \
    .ttft_ms = 120, .prefill_bytes_s = 1200, .decode_bytes_s = 120
#define BDH_CPU                                                                                    \
    .kind = HW_KIND_BDH, .device = HW_DEVICE_CPU, .slots = 1, .ttft_ms = 500,                      \
    .prefill_bytes_s = 300, .decode_bytes_s = 8

static const struct sim_place gpus[] = {{.name = "bluefin", LLAMA_CUDA},
                                        {.name = "redfin-0", LLAMA_CUDA},
                                        {.name = "redfin-1", LLAMA_CUDA}};
const struct sim_place sim_fleet[] = {{.name = "bluefin", LLAMA_CUDA},
                                      {.name = "redfin-0", LLAMA_CUDA},
                                      {.name = "redfin-1", LLAMA_CUDA},
                                      {.name = "sasass2", LLAMA_MPS},
                                      {.name = "sasass", BDH_CPU, .backup = true}};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define GPUS .places = gpus, .place_count = COUNT(gpus)
#define FLEET .places = sim_fleet, .place_count = COUNT(sim_fleet)
#define SIZES                                                                                      \
    .prompt_bytes = 200, .prompt_sigma = 0.8, .output_bytes = 100, .output_sigma = 0.7,            \
    .noise_sigma = 0.1

const struct sim_scenario sim_scenarios[] = {
    {.name = "three GPUs, 40/s", GPUS, .load = {.rate_s = 40, SIZES}},
    {.name = "fleet, 20/s", FLEET, .load = {.rate_s = 20, SIZES}},
    {.name = "fleet, 40/s", FLEET, .load = {.rate_s = 40, SIZES}},
    {.name = "fleet, 50/s", FLEET, .load = {.rate_s = 50, SIZES}},
    {.name = "fleet, 55/s", FLEET, .load = {.rate_s = 55, SIZES}},
    {.name = "fleet, bursts",
     FLEET,
     .load = {.rate_s = 30, .burst_factor = 4, .burst_share = 0.1, .burst_ms = 2000, SIZES}},
    {.name = "fleet, one GPU 4x slower for a third of the time",
     FLEET,
     .load = {.rate_s = 30, SIZES},
     .slow_factor = 4},
    {.name = "fleet, one GPU dead for a third of the time",
     FLEET,
     .load = {.rate_s = 30, SIZES},
     .dies = true},
};
const size_t sim_fleet_count = COUNT(sim_fleet);
const size_t sim_scenario_count = COUNT(sim_scenarios);

void
sim_scenario_places(const struct sim_scenario *scenario, double run_ms,
                    struct sim_place places[static SIM_PLACES_MAX])
{
    memcpy(places, scenario->places, scenario->place_count * sizeof(places[0]));
    if (scenario->slow_factor > 0) {
        places[0].slow_from_ms = run_ms / 3;
        places[0].slow_to_ms = run_ms * 2 / 3;
        places[0].slow_factor = scenario->slow_factor;
    }
    if (scenario->dies) {
        places[0].dead_from_ms = run_ms / 3;
        places[0].dead_to_ms = run_ms * 2 / 3;
    }
}
