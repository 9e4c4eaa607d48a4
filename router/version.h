/* router/version.h - what `hatchway --version` and hatchway_build_info say. */
#ifndef HW_ROUTER_VERSION_H
#define HW_ROUTER_VERSION_H

#define HW_VERSION "0.1.0"

#endif
