// Rows of measured cases, as text and as JSON.
#include "timing.h"

namespace hebb::bench {

std::string Case::name() const {
  std::string text = operation;
  const auto add = [&](const char* format, auto... numbers) {
    char part[48];
    std::snprintf(part, sizeof part, format, numbers...);
    text += part;
  };
  if (shape.cols) add("/%dx%d", shape.cols, shape.rows);
  else if (shape.rows) add("/%d", shape.rows);
  if (shape.density > 0) add("/%g%%", 100 * shape.density);
  if (shape.batch) add("/batch:%d", shape.batch);
  if (shape.threads) add("/threads:%d", shape.threads);
  return text;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) >= 32) result += c;
  }
  return result + "\"";
}

void writeRows(std::FILE* file, const std::vector<Row>& rows) {
  const char* separator = "\n";
  for (const Row& row : rows) {
    const double median = row.median();
    std::fprintf(file, "%s{\"name\": %s, \"operation\": %s", separator, quoted(row.name).c_str(),
                 quoted(row.operation).c_str());
    const auto number = [&](const char* key, double value) {
      if (value > 0) std::fprintf(file, ", \"%s\": %.6g", key, value);
    };
    number("rows", row.shape.rows);
    number("cols", row.shape.cols);
    number("density", row.shape.density);
    number("batch", row.shape.batch);
    number("threads", row.shape.threads);
    std::fprintf(file, ", \"item\": %s", quoted(row.item).c_str());
    number("items", row.items);
    number("medianSeconds", median);
    number("minSeconds", row.least());
    number("maxSeconds", row.seconds.back());
    number("nsPerItem", row.items > 0 ? median * 1e9 / row.items : 0);
    number("gflops", row.flop / median * 1e-9);
    number("gbps", row.bytes / median * 1e-9);
    number("rooflineSeconds", row.roof.seconds);
    number("rooflineShare", row.roof.seconds / median);
    if (!row.roof.bound.empty()) std::fprintf(file, ", \"bound\": %s", quoted(row.roof.bound).c_str());
    std::fprintf(file, "}");
    separator = ",\n";
  }
}

void printHead() {
  std::printf("%-52s %11s %11s %11s %9s %-7s %8s %8s %11s %6s %s\n", "case", "median us", "min us", "max us", "ns/item",
              "item", "GFLOP/s", "GB/s", "roofline us", "share", "bound");
}

void printRow(const Row& row) {
  const double median = row.median();
  const auto number = [](double value, const char* format) {
    char text[32] = "-";
    if (value > 0) std::snprintf(text, sizeof text, format, value);
    return std::string(text);
  };
  std::printf("%-52s %11.2f %11.2f %11.2f %9s %-7s %8s %8s %11s %6s %s\n", row.name.c_str(), median * 1e6,
              row.least() * 1e6, row.seconds.back() * 1e6,
              number(row.items > 0 ? median * 1e9 / row.items : 0, "%.3f").c_str(), row.item,
              number(row.flop / median * 1e-9, "%.1f").c_str(), number(row.bytes / median * 1e-9, "%.1f").c_str(),
              number(row.roof.seconds * 1e6, "%.2f").c_str(), number(100 * row.roof.seconds / median, "%.0f%%").c_str(),
              row.roof.bound.c_str());
  std::fflush(stdout);
}

}  // namespace hebb::bench
