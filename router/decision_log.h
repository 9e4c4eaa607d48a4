/* router/decision_log.h - the decision log (`decisions` of the configuration): one record a query,
 * off by default, on its own way to its own file (router/lines.h). A reload may switch it on and
 * off and move it. */
#ifndef HW_ROUTER_DECISION_LOG_H
#define HW_ROUTER_DECISION_LOG_H

#include "config/snapshot.h"
#include "router/record.h"

struct hw_decision_log;

/* On an error its file cannot be opened. */
int hw_decision_log_create(const struct hw_conf_decisions *conf, struct hw_decision_log **out,
                           struct hw_err *err);
/* Loop 0, when another configuration comes into force. */
void hw_decision_log_apply(struct hw_decision_log *log, const struct hw_conf_decisions *conf);
/* Any thread. Does nothing while the log is off. */
void hw_decision_log_write(struct hw_decision_log *log, const struct hw_record *record);
uint64_t hw_decision_log_dropped(const struct hw_decision_log *log);
void hw_decision_log_reopen(struct hw_decision_log *log);
void hw_decision_log_destroy(struct hw_decision_log **log); /* writes out what is queued */

#endif
