/* router/record_file.h - a decision log read record by record, a bounded line at a time. */
#ifndef HW_ROUTER_RECORD_FILE_H
#define HW_ROUTER_RECORD_FILE_H

#include "router/record.h"

struct hw_record_file;

int hw_record_file_open(const char *path, struct hw_record_file **out, struct hw_err *err);
/* 1: a record, good until the next call; 0: the end; HW_EINVAL: a line that is none ("PATH:LINE:
 * why"), the next call goes on behind it; HW_EIO: the file cannot be read any further. */
int hw_record_file_next(struct hw_record_file *file, struct hw_record *record, struct hw_err *err);
void hw_record_file_close(struct hw_record_file **file); /* NULL-safe, nulls it */

#endif
