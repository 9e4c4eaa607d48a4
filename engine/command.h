/* engine/command.h - the engine's subcommands, for the program's main.
 *
 * argv[0] is the subcommand's own name ("worker", "bdh"). Returns the exit status: 0 done, 1 the
 * work failed, 2 wrong usage; errors have gone to stderr as "hatchway: what, and how to mend it".
 */
#ifndef HW_ENGINE_COMMAND_H
#define HW_ENGINE_COMMAND_H

int hw_command_worker(int argc, char **argv);
/* bdh inspect | generate | logits | train | recall */
int hw_command_bdh(int argc, char **argv);

#endif
