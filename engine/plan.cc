// A value lives from the operation that writes it to the last one that touches it. The largest are placed first, each
// as low as those allow that live at the same time; an operation that works in place hands the memory of what it reads
// last to what it writes.
#include "plan.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <unordered_map>

namespace hebb {
namespace {

constexpr int64_t kAfterAll = INT64_MAX;
constexpr size_t kAlignment = 256;  // of what a GPU or a CPU loads at once

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// From the operation that writes a value first to the one that touches it last.
struct Life {
  int64_t first = kAfterAll, last = -1;

  bool isNone() const { return last < first; }
  bool overlaps(const Life& other) const { return first <= other.last && other.first <= last; }
};

/// The slot that `of` names beside itself in its group.
const Slot* sibling(const Recorded& recorded, const Slot& of, const char* name) {
  const size_t dot = of.name.rfind('.');
  const std::string path = (dot == std::string::npos ? "" : of.name.substr(0, dot + 1)).append(name);
  for (const Slot& slot : recorded.slots) {
    if (slot.name == path) return &slot;
  }
  return nullptr;
}

class Planner {
 public:
  Planner(const std::vector<Recorded>& recorded, const Values& values) : recorded_(recorded), values_(values) {
    for (size_t i = 0; i < values.all.size(); ++i) indexOf_[values.all[i].get()] = i;
    lives_.resize(values.all.size());
    places_.resize(values.all.size());
    std::iota(places_.begin(), places_.end(), size_t{0});
  }

  Status run(Plan* out) {
    HEBB_RETURN_IF_ERROR(findLives());
    std::vector<Life> lives = lives_;
    for (int64_t i = 0; i < static_cast<int64_t>(recorded_.size()); ++i) {
      for (const Slot& slot : recorded_[static_cast<size_t>(i)].slots) takeOver(i, slot);
    }
    // What took over another's memory lives there from the other's begin on.
    for (size_t i = 0; i < lives.size(); ++i) {
      Life& place = lives[placeOf(i)];
      place.first = std::min(place.first, lives_[i].first);
      place.last = std::max(place.last, lives_[i].last);
    }
    arrange(lives, out);
    return {};
  }

 private:
  Status findLives() {
    for (size_t i = 0; i < lives_.size(); ++i) {
      if (values_.all[i]->isGiven()) lives_[i] = {0, 0};
    }
    for (size_t i = 0; i < recorded_.size(); ++i) {
      // An operation reads what it is given before it writes.
      for (const bool written : {false, true}) {
        for (const Slot& slot : recorded_[i].slots) {
          const auto found = slot ? indexOf_.find(slot.buffer.get()) : indexOf_.end();
          if (found == indexOf_.end() || written != (slot.role == declare::Role::writes)) continue;
          Life& life = lives_[found->second];
          if (life.isNone() && !written) {
            return {Code::invalidArgument, std::string(nameOf(recorded_[i].operation)) + ": Expected " + slot.name +
                                               " to be written before it is read, got a value that nothing in the "
                                               "step has written. Declare it as given where the host writes it"};
          }
          const auto at = static_cast<int64_t>(i);
          life = {std::min(life.first, at), std::max(life.last, at)};
        }
      }
    }
    for (size_t i = 0; i < lives_.size(); ++i) {
      if (values_.lifetimeOf(*values_.all[i]) != Lifetime::kept) continue;
      lives_[i].last = kAfterAll;
      if (lives_[i].first == kAfterAll) lives_[i].first = 0;  // untouched, and yet there
    }
    return {};
  }

  /// Gives a value that operation `at` writes the memory of one that it reads last, where the operation writes each
  /// element after it has read it.
  void takeOver(int64_t at, const Slot& slot) {
    const auto mine = indexOf_.find(slot.buffer.get());
    if (!slot || !slot.writes() || mine == indexOf_.end() || lives_[mine->second].first != at) return;
    const Recorded& operation = recorded_[static_cast<size_t>(at)];
    for (const char* name : slot.over) {
      const Slot* other = name ? sibling(operation, slot, name) : nullptr;
      const auto theirs = other && *other ? indexOf_.find(other->buffer.get()) : indexOf_.end();
      if (theirs == indexOf_.end() || theirs == mine || lives_[theirs->second].last != at) continue;
      if (other->first != slot.first || other->count != slot.count || other->buffer->bytes() != slot.buffer->bytes())
        continue;
      const auto uses = std::count_if(operation.slots.begin(), operation.slots.end(), [&](const Slot& one) {
        return one.buffer == other->buffer || (one.buffer == slot.buffer && &one != &slot);
      });
      if (uses != 1 || !taken_.insert(theirs->second).second) continue;
      places_[mine->second] = placeOf(theirs->second);
      return;
    }
  }

  size_t placeOf(size_t value) const {
    while (places_[value] != value) value = places_[value];
    return value;
  }

  /// The largest first, each as low as those allow that are placed and needed at the same time.
  void arrange(const std::vector<Life>& lives, Plan* out) const {
    const auto bytesOf = [&](size_t i) { return aligned(values_.all[i]->bytes()); };
    std::vector<size_t> order;
    for (size_t i = 0; i < lives.size(); ++i) {
      if (placeOf(i) == i && !lives[i].isNone()) order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return bytesOf(a) > bytesOf(b); });
    out->offsets.assign(lives.size(), 0);
    out->bytes = 0;
    std::vector<size_t> placed;  // by offset
    for (const size_t i : order) {
      size_t offset = 0;
      for (const size_t other : placed) {
        if (!lives[i].overlaps(lives[other])) continue;
        if (out->offsets[other] >= offset + bytesOf(i)) break;
        offset = std::max(offset, out->offsets[other] + bytesOf(other));
      }
      out->offsets[i] = offset;
      out->bytes = std::max(out->bytes, offset + bytesOf(i));
      placed.insert(std::upper_bound(placed.begin(), placed.end(), offset,
                                     [&](size_t at, size_t one) { return at < out->offsets[one]; }),
                    i);
    }
    for (size_t i = 0; i < lives.size(); ++i) out->offsets[i] = out->offsets[placeOf(i)];
  }

  const std::vector<Recorded>& recorded_;
  const Values& values_;
  std::unordered_map<const Buffer*, size_t> indexOf_;
  std::vector<Life> lives_;
  std::set<size_t> taken_;
  std::vector<size_t> places_;  // the value whose place a value takes over, at last its own
};

}  // namespace

std::vector<Recorded> removeUnread(std::vector<Recorded> recorded, const Values& values) {
  std::set<const Buffer*> read;
  std::vector<Recorded> needed;
  for (size_t i = recorded.size(); i-- > 0;) {
    Recorded& one = recorded[i];
    const bool isUnread = std::all_of(one.slots.begin(), one.slots.end(), [&](const Slot& slot) {
      return !slot || !slot.writes() || (values.passes(slot) && !read.count(slot.buffer.get()));
    });
    if (isUnread && one.writes()) continue;
    for (const Slot& slot : one.slots) {
      if (slot && slot.role != declare::Role::writes && slot.buffer) read.insert(slot.buffer.get());
    }
    needed.push_back(std::move(one));
  }
  std::reverse(needed.begin(), needed.end());
  return needed;
}

Status plan(const std::vector<Recorded>& recorded, const Values& values, Plan* out) {
  return Planner(recorded, values).run(out);
}

}  // namespace hebb
