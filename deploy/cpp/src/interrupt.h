// Ctrl-C during a run: the first one ends it after the batch that is being computed, the second one at once.
#pragma once

namespace glorext {

// From here on a SIGINT is only noted, once; where the program was started with SIGINT ignored, it stays so.
void note_interrupt();

bool interrupted();

}  // namespace glorext
