/* bench/sim/scenarios.h - the fleet, and what happens to it. */
#ifndef HW_BENCH_SCENARIOS_H
#define HW_BENCH_SCENARIOS_H

#include "bench/sim/sim.h"

struct sim_scenario {
    const char *name;
    const struct sim_place *places;
    size_t place_count;
    struct sim_load load;
    double slow_factor; /* not 0: the first place is so much slower in the middle third */
    bool dies;          /* the first place is dead in the middle third */
};

extern const struct sim_scenario sim_scenarios[];
extern const size_t sim_scenario_count;

extern const struct sim_place sim_fleet[];
extern const size_t sim_fleet_count;

/* The scenario's places with what happens to them in a run that lasts this long. */
void sim_scenario_places(const struct sim_scenario *scenario, double run_ms,
                         struct sim_place places[static SIM_PLACES_MAX]);

#endif
