// The Ascend card of this machine, as AscendCL names it, and whether a model may run there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "contract.h"

namespace glorext {

struct Card {
  int64_t id = 0;
  int64_t count = 0;          // of cards in this machine; 0: none was asked for
  std::string chip;           // such as "Ascend310P3"
  std::string stand_in = {};  // what an AscendCL without a card calls itself; empty for a real one

  Json json() const;  // null without a card
};

// The card `id` for `device`, one of kFamilies. Throws Failure when the device's runtime, the card or a chip of this
// family is not there: MindSpore Lite itself would take card 0, and any chip.
Card find_card(const std::string& device, int id);

// Throws Usage when the contract says that the model runs elsewhere. `card` is without a chip for the cpu.
void require_model_for(const Contract& contract, const std::string& device, const Card& card);

// Why the runtime failed: its `words`, which may say little, and where a card was asked for what AscendCL says.
std::string reason_of(const std::string& words);

// The family of a chip that AscendCL names; empty for one of no known family.
std::string family_of(const std::string& chip);

// The smallest of the rising `sizes` that holds `rows`. Throws Usage where none does.
int64_t prepared_size(const std::vector<int64_t>& sizes, int64_t rows);

}  // namespace glorext
