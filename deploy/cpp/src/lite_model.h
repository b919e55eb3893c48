// A model in the MindSpore Lite runtime, with the checks that the runtime itself does not make.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "contract.h"
#include "lite_engine.h"
#include "preprocess.h"

namespace glorext {

class LiteModel {
 public:
  // `batch` 0: the model's own batch; for a dynamic one 2 on the CPU, else the largest that it was prepared for, or 1.
  // Throws Usage when a fixed batch is asked to be another, or no prepared one is as large; Failure when the built
  // model contradicts the contract.
  LiteModel(const Contract& contract, const MappedFile& file, const DeviceOptions& options, int64_t batch, int workers);

  Layout layout() const { return layout_; }
  int workers() const { return workers_; }
  int64_t batch() const { return batch_; }
  int64_t classes() const { return classes_; }
  size_t row_bytes() const { return row_bytes_; }

  // `rows` (1 to batch()) inputs one after the other, row_bytes() each, to rows x classes() logits.
  // A partial batch is padded by its last row to the smallest prepared size that holds it, or that holds the batch
  // that was asked for. A model that was built for any batch and runs on the CPU is resized. For workers() threads at
  // once; more wait.
  void predict(const uint8_t* input, int64_t rows, float* logits);

 private:
  void check_input(const Contract& contract, int64_t batch, int64_t default_batch);
  int64_t size_for(int64_t rows) const;
  void take_logits(const Engine::Outputs& outputs, int64_t size, int64_t rows, float* logits) const;

  std::unique_ptr<Engine> engine_;
  int workers_ = 1;
  std::string path_;
  std::vector<int64_t> shape_;
  Layout layout_ = Layout::nchw;
  bool resizable_ = false;
  std::vector<int64_t> prepared_;  // batch sizes, rising; empty: any, or the one of the model
  int64_t least_ = 0;              // fewer rows are filled up to a prepared size of at least this one
  int64_t batch_ = 1;
  int64_t classes_ = 0;
  size_t row_bytes_ = 0;
};

}  // namespace glorext
