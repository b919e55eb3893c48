// Which chip is of which family, where a model may run, and which prepared batch size is taken.
#include "card.h"

#include "failure.h"
#include "support.h"

using namespace glorext;

TEST_CASE("a chip is of the family whose name its own begins with, the longest of them") {
  CHECK(family_of("Ascend310") == "ascend310");
  CHECK(family_of("Ascend310P3") == "ascend310p");
  CHECK(family_of("Ascend310B4") == "ascend310b");
  CHECK(family_of("Ascend910_9392") == "ascend910");
  CHECK(family_of("Ascend950PR").empty());
}

TEST_CASE("the smallest prepared size that fits is taken") {
  const std::vector<int64_t> sizes = {1, 4, 8};
  CHECK(prepared_size(sizes, 1) == 1);
  CHECK(prepared_size(sizes, 2) == 4);
  CHECK(prepared_size(sizes, 4) == 4);
  CHECK(prepared_size(sizes, 5) == 8);
  CHECK_THROWS_AS(prepared_size(sizes, 9), Usage);
}

TEST_CASE("a model runs only where its contract says") {
  Contract contract;
  const auto refused = [&](const std::string& device, const std::string& chip) {
    return message_of([&] { require_model_for(contract, device, {0, 1, chip}); });
  };
  require_model_for(contract, "ascend310p", {0, 1, "Ascend310P3"});
  contract.family = "cpu";
  require_model_for(contract, "cpu", {});
  CHECK(refused("ascend310p", "Ascend310P3").find("rearranged for the cpu") != std::string::npos);
  contract.family = "ascend310p";
  require_model_for(contract, "ascend310p", {0, 1, "Ascend310P1"});
  CHECK(refused("cpu", "").find("compiled for ascend310p") != std::string::npos);
  contract.chip = "Ascend310P3";
  require_model_for(contract, "ascend310p", {0, 1, "Ascend310P3"});
  CHECK(refused("ascend310p", "Ascend310P1").find("the chip of this machine is Ascend310P1") != std::string::npos);
}

TEST_CASE("a card is recorded with its number, and none as null") {
  CHECK(Card{}.json().is_null());
  CHECK(Card{1, 2, "Ascend310P3"}.json().dump() ==
        Json(Json::Object{{"id", int64_t{1}}, {"count", int64_t{2}}, {"chip", "Ascend310P3"}}).dump());
}
