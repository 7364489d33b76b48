// A condition's text as tokens.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace weir::analysis {

enum class TokenKind : uint8_t { kEnd, kNumber, kString, kName, kSymbol };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  size_t column = 1;         // from 1, in bytes
  std::string text;          // of a name or symbol; of a string, what it stands for
  boost::json::value value;  // of a number: int64 or double
};

/// The tokens, kEnd last. INVALID_ARGUMENT with the column for what is none.
Result<std::vector<Token>> Tokenize(std::string_view text);

}  // namespace weir::analysis
