// The bounded queue between threads.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "queue.h"

using glorext::BoundedQueue;

TEST_CASE("every item arrives once and memory stays bounded") {
  BoundedQueue<int> queue(3);
  std::atomic<long> sum{0};
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<std::thread> consumers;
  for (int i = 0; i < 3; ++i)
    consumers.emplace_back([&] {
      while (const auto item = queue.pop()) {
        --inside;
        sum += *item;
      }
    });
  std::vector<std::thread> producers;
  for (int i = 0; i < 2; ++i)
    producers.emplace_back([&] {
      for (int n = 1; n <= 1000; ++n) {
        queue.push(n);
        const int now = ++inside;
        int seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
      }
    });
  for (auto& thread : producers) thread.join();
  queue.close();
  for (auto& thread : consumers) thread.join();
  CHECK(sum == 2L * 500500);
  // Three in the queue, and one held by each consumer that has not counted it yet.
  CHECK(most <= 6);
}

TEST_CASE("closing wakes a producer that waits for room, and keeps what is inside") {
  BoundedQueue<int> queue(1);
  CHECK(queue.push(1));
  std::thread producer([&] { CHECK(!queue.push(2)); });
  queue.close();
  producer.join();
  CHECK(queue.pop() == 1);
  CHECK(!queue.pop());
}
