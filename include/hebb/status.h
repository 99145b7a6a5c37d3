// What an operation or an engine call reports: a code that is stable for programs and a message for people.
#pragma once

#include <string>
#include <utility>

namespace hebb {

enum class Code {
  ok,
  invalidArgument,    // a shape, range or type does not fit; nothing was changed
  outOfMemory,        // the device could not give the memory; nothing was changed
  aborted,            // the caller asked to stop
  nonFinite,          // NaN or infinity where a number is needed
  disposed,           // the object's memory was given back
  deviceUnavailable,  // the device asked for is not there
  unsupported,        // this backend does not have the operation
  internal,           // a defect of this library or of the driver
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  bool ok() const { return code_ == Code::ok; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Code code_ = Code::ok;
  std::string message_;
};

}  // namespace hebb

#define HEBB_RETURN_IF_ERROR(expression)                                                     \
  do {                                                                                       \
    if (::hebb::Status hebb_status_ = (expression); !hebb_status_.ok()) return hebb_status_; \
  } while (0)
