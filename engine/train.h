/* engine/train.h - the trainer's two commands.
 *
 * argv[0] is the command's name; they print to stdout, complain on stderr and return the exit
 * status: 0, 1 the work failed (recall: a rate is below what was demanded), 2 usage. */
#ifndef HW_ENGINE_TRAIN_H
#define HW_ENGINE_TRAIN_H

/* hatchway bdh train --data FILE --out DIR [...] */
int hw_command_bdh_train(int argc, char **argv);
/* hatchway bdh recall MODEL --data FILE [...] */
int hw_command_bdh_recall(int argc, char **argv);

#endif
