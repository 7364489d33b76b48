// The grammar and precedences of expr-lang, and what of it is refused by name.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>

#include "controller/analysis/condition.h"
#include "controller/analysis/condition_ast.h"
#include "controller/analysis/condition_lexer.h"

namespace weir::analysis {
namespace {

using NodePtr = std::unique_ptr<Node>;

constexpr size_t kMaxNodes = 512;

struct Binary {
  std::string_view text;
  Op op;
  int precedence;
  bool right = false;  // associates to the right
};
constexpr Binary kBinary[] = {
    {"or", Op::kOr, 10},
    {"||", Op::kOr, 10},
    {"and", Op::kAnd, 15},
    {"&&", Op::kAnd, 15},
    {"==", Op::kEqual, 20},
    {"!=", Op::kNotEqual, 20},
    {"<", Op::kLess, 20},
    {"<=", Op::kLessEqual, 20},
    {">", Op::kGreater, 20},
    {">=", Op::kGreaterEqual, 20},
    {"in", Op::kIn, 20},
    {"contains", Op::kContains, 20},
    {"startsWith", Op::kStartsWith, 20},
    {"endsWith", Op::kEndsWith, 20},
    {"matches", Op::kMatches, 20},
    {"..", Op::kRange, 25},
    {"+", Op::kAdd, 30},
    {"-", Op::kSubtract, 30},
    {"*", Op::kMultiply, 60},
    {"/", Op::kDivide, 60},
    {"%", Op::kModulo, 60},
    {"**", Op::kPower, 100, true},
    {"^", Op::kPower, 100, true},
    {"??", Op::kCoalesce, 500},
};
constexpr int kNotPrecedence = 50;
constexpr int kSignPrecedence = 90;

/// What expr has and Weir has not.
constexpr std::string_view kRefusedFunctions[] = {
    "findIndex",  "findLast",   "findLastIndex", "groupBy",  "sortBy",   "sort",       "reduce",
    "reverse",    "flatten",    "uniq",          "concat",   "take",     "get",        "keys",
    "values",     "toPairs",    "fromPairs",     "now",      "duration", "date",       "timezone",
    "split",      "splitAfter", "join",          "replace",  "repeat",   "indexOf",    "lastIndexOf",
    "trimPrefix", "trimSuffix", "toJSON",        "fromJSON", "toBase64", "fromBase64", "bitand",
    "bitor",      "bitxor",     "bitnand",       "bitnot",   "bitshl",   "bitshr",     "bitushr",
    "type",       "array"};

bool IsComparison(Op op) { return op >= Op::kLess && op <= Op::kGreaterEqual; }

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<NodePtr> Run() {
    ASSIGN_OR_RETURN(NodePtr root, Expression(0));
    if (Current().kind != TokenKind::kEnd) return Unexpected("an operator or the end");
    return root;
  }

 private:
  const Token& Current() const { return tokens_[at_]; }
  bool Is(std::string_view symbol) const {
    return Current().kind == TokenKind::kSymbol && Current().text == symbol;
  }
  bool IsName(std::string_view name) const {
    return Current().kind == TokenKind::kName && Current().text == name;
  }
  void Next() {
    if (Current().kind != TokenKind::kEnd) ++at_;
  }
  bool Accept(std::string_view symbol) {
    if (!Is(symbol)) return false;
    Next();
    return true;
  }

  static std::string Shown(const Token& token) {
    switch (token.kind) {
      case TokenKind::kEnd:
        return "the end";
      case TokenKind::kNumber:
        return "a number";
      case TokenKind::kString:
        return "a string";
      default:
        return fmt::format("{:?}", token.text.substr(0, 64));
    }
  }
  Status Unexpected(std::string_view expected) const {
    return InvalidArgument("column {}: found {}, expected {}", Current().column, Shown(Current()), expected);
  }
  static Status Refuse(size_t column, std::string_view what) {
    return InvalidArgument("column {}: {} is not carried out by Weir", column, what);
  }
  Status Expect(std::string_view symbol) {
    if (!Is(symbol)) return Unexpected(fmt::format("{:?}", symbol));
    Next();
    return OkStatus();
  }

  Result<NodePtr> Make(NodeKind kind, size_t column) {
    if (++nodes_ > kMaxNodes)
      return InvalidArgument("column {}: found more than {} operators and values, expected fewer", column,
                             kMaxNodes);
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->column = column;
    return node;
  }
  template <typename... Children>
  Result<NodePtr> MakeWith(NodeKind kind, Op op, size_t column, Children... children) {
    ASSIGN_OR_RETURN(NodePtr node, Make(kind, column));
    node->op = op;
    (node->children.push_back(std::move(children)), ...);
    return node;
  }

  /// The operator at hand if it binds at least so tightly.
  const Binary* Operator(int precedence) const {
    if (Current().kind != TokenKind::kSymbol && Current().kind != TokenKind::kName) return nullptr;
    const auto found = std::ranges::find(kBinary, Current().text, &Binary::text);
    return found != std::end(kBinary) && found->precedence >= precedence ? found : nullptr;
  }

  Result<NodePtr> Expression(int precedence) {
    if (++depth_ > kMaxConditionDepth) {
      return InvalidArgument("column {}: found more than {} levels, expected fewer", Current().column,
                             kMaxConditionDepth);
    }
    if (IsName("let")) return Refuse(Current().column, "let");
    if (IsName("if")) return Refuse(Current().column, "if {} else {}");
    ASSIGN_OR_RETURN(NodePtr left, Primary());
    Op last = Op::kNone;
    while (true) {
      const size_t before = at_;
      const bool negated = IsName("not");
      if (negated) Next();
      const Binary* const binary = Operator(precedence);
      if (binary == nullptr) {
        at_ = before;
        break;
      }
      ASSIGN_OR_RETURN(left, Apply(std::move(left), *binary, negated, last));
      last = binary->op;
    }
    if (precedence == 0) {
      if (Is("|")) return Refuse(Current().column, "the pipe |");
      if (Is(";") || Is("=")) return Refuse(Current().column, fmt::format("{:?}", Current().text));
      if (Is("?")) {
        ASSIGN_OR_RETURN(left, Conditional(std::move(left)));
      }
    }
    --depth_;
    return left;
  }

  Result<NodePtr> Apply(NodePtr left, const Binary& binary, bool negated, Op last) {
    const size_t column = Current().column;
    if (IsComparison(last) && IsComparison(binary.op)) return Refuse(column, "a chain of comparisons");
    if (last == Op::kCoalesce && binary.op != Op::kCoalesce) {
      return InvalidArgument("column {}: found {} beside ??, expected parentheses around one of them", column,
                             binary.text);
    }
    Next();
    ASSIGN_OR_RETURN(NodePtr right, Expression(binary.right ? binary.precedence : binary.precedence + 1));
    std::unique_ptr<RE2> pattern;
    if (binary.op == Op::kMatches && right->kind == NodeKind::kLiteral && right->literal.is_string()) {
      const auto& text = right->literal.get_string();
      pattern = std::make_unique<RE2>(re2::StringPiece(text.data(), text.size()), PatternOptions());
      if (!pattern->ok()) {
        return InvalidArgument("column {}: found a pattern that is none ({:?}), expected RE2's syntax",
                               right->column, pattern->error());
      }
    }
    ASSIGN_OR_RETURN(NodePtr node,
                     MakeWith(NodeKind::kBinary, binary.op, column, std::move(left), std::move(right)));
    node->pattern = std::move(pattern);
    if (!negated) return node;
    return MakeWith(NodeKind::kUnary, Op::kNot, column, std::move(node));
  }

  Result<NodePtr> Conditional(NodePtr condition) {
    const size_t column = Current().column;
    Next();
    if (Is(":")) return Refuse(column, "?:");
    ASSIGN_OR_RETURN(NodePtr then, Expression(0));
    RETURN_IF_ERROR(Expect(":"));
    ASSIGN_OR_RETURN(NodePtr otherwise, Expression(0));
    return MakeWith(NodeKind::kConditional, Op::kNone, column, std::move(condition), std::move(then),
                    std::move(otherwise));
  }

  Result<NodePtr> Unary(Op op, int precedence) {
    const size_t column = Current().column;
    Next();
    ASSIGN_OR_RETURN(NodePtr operand, Expression(precedence));
    return MakeWith(NodeKind::kUnary, op, column, std::move(operand));
  }

  Result<NodePtr> Primary() {
    const size_t column = Current().column;
    if (Is("!") || IsName("not")) return Unary(Op::kNot, kNotPrecedence);
    if (Is("-")) return Unary(Op::kNegate, kSignPrecedence);
    if (Is("+")) return Unary(Op::kPlus, kSignPrecedence);
    if (Accept("(")) {
      ASSIGN_OR_RETURN(NodePtr inner, Expression(0));
      RETURN_IF_ERROR(Expect(")"));
      return Postfix(std::move(inner));
    }
    if (predicates_ > 0 && (Is("#") || Is("."))) {
      if (Accept("#") && Current().kind == TokenKind::kName && !Operator(0) && !IsName("not")) {
        return Refuse(column, fmt::format("#{}", Current().text.substr(0, 32)));
      }
      ASSIGN_OR_RETURN(NodePtr element, Make(NodeKind::kElement, column));
      return Postfix(std::move(element));
    }
    if (Is("#")) return Unexpected("# within a predicate only, such as all(result, {# > 1})");
    if (Is("[")) return Array();
    if (Is("{")) return Map();
    if (Is("::")) return Refuse(column, "::");
    if (Current().kind == TokenKind::kNumber || Current().kind == TokenKind::kString) return Literal();
    if (Current().kind == TokenKind::kName) return Name();
    return Unexpected("a value");
  }

  Result<NodePtr> Literal() {
    ASSIGN_OR_RETURN(NodePtr node, Make(NodeKind::kLiteral, Current().column));
    if (Current().kind == TokenKind::kString) {
      node->literal = boost::json::string(Current().text.data(), Current().text.size());
    } else {
      node->literal = Current().value;
    }
    Next();
    return Postfix(std::move(node));
  }

  Result<NodePtr> Array() {
    ASSIGN_OR_RETURN(NodePtr node, Make(NodeKind::kArray, Current().column));
    Next();
    while (!Is("]")) {
      ASSIGN_OR_RETURN(NodePtr item, Expression(0));
      node->children.push_back(std::move(item));
      if (!Accept(",")) break;
    }
    RETURN_IF_ERROR(Expect("]"));
    return Postfix(std::move(node));
  }

  Result<NodePtr> Map() {
    ASSIGN_OR_RETURN(NodePtr node, Make(NodeKind::kMap, Current().column));
    Next();
    while (!Is("}")) {
      if (Current().kind != TokenKind::kName && Current().kind != TokenKind::kString)
        return Unexpected("a key and a colon");
      node->names.push_back(Current().text);
      Next();
      RETURN_IF_ERROR(Expect(":"));
      ASSIGN_OR_RETURN(NodePtr value, Expression(0));
      node->children.push_back(std::move(value));
      if (!Accept(",")) break;
    }
    RETURN_IF_ERROR(Expect("}"));
    return Postfix(std::move(node));
  }

  Result<NodePtr> Name() {
    const Token token = Current();
    Next();
    if (Is("(")) return Call(token);
    NodeKind kind = NodeKind::kLiteral;
    boost::json::value value;
    if (token.text == "true" || token.text == "false") {
      value = token.text == "true";
    } else if (token.text == "result") {
      kind = NodeKind::kResult;
    } else if (token.text != "nil") {
      return InvalidArgument(
          "column {}: found the name {:?}, expected result, true, false, nil or a function", token.column,
          token.text.substr(0, 64));
    }
    ASSIGN_OR_RETURN(NodePtr node, Make(kind, token.column));
    node->literal = std::move(value);
    return Postfix(std::move(node));
  }

  Result<NodePtr> Call(const Token& name) {
    const Function* const function = FindFunction(name.text);
    if (function == nullptr) {
      if (std::ranges::find(kRefusedFunctions, name.text) != std::end(kRefusedFunctions))
        return Refuse(name.column, fmt::format("the function {}", name.text));
      return InvalidArgument("column {}: found the function {:?}, expected one of {}", name.column,
                             name.text.substr(0, 64), fmt::join(Functions(), ", "));
    }
    ASSIGN_OR_RETURN(NodePtr node, Make(NodeKind::kCall, name.column));
    node->name = name.text;
    Next();
    while (!Is(")")) {
      const bool predicate = function->predicate != Function::Predicate::kNone && node->children.size() == 1;
      ASSIGN_OR_RETURN(NodePtr argument, predicate ? Predicate() : Expression(0));
      node->predicate = node->predicate || predicate;
      node->children.push_back(std::move(argument));
      if (!Accept(",")) break;
    }
    RETURN_IF_ERROR(Expect(")"));
    const int count = static_cast<int>(node->children.size());
    if (count < function->min_args || count > function->max_args) {
      const std::string takes = function->min_args == function->max_args
                                    ? std::to_string(function->min_args)
                                    : fmt::format("{} to {}", function->min_args, function->max_args);
      return InvalidArgument("column {}: found {} arguments of {}, expected {}", name.column, count,
                             name.text, takes);
    }
    return Postfix(std::move(node));
  }

  Result<NodePtr> Predicate() {
    ++predicates_;
    const bool braces = Accept("{");
    ASSIGN_OR_RETURN(NodePtr body, Expression(0));
    if (braces) RETURN_IF_ERROR(Expect("}"));
    --predicates_;
    return body;
  }

  Result<NodePtr> Postfix(NodePtr node) {
    while (true) {
      const size_t column = Current().column;
      if (Is("?.") || Is(".")) {
        const bool optional = Is("?.");
        Next();
        if (optional && Is("[")) {
          ASSIGN_OR_RETURN(node, Index(std::move(node), true));
          continue;
        }
        if (Current().kind != TokenKind::kName) return Unexpected("the name of a field");
        ASSIGN_OR_RETURN(node, MakeWith(NodeKind::kMember, Op::kNone, column, std::move(node)));
        node->name = Current().text;
        node->optional = optional;
        Next();
        if (Is("(")) return Refuse(column, "the call of a method");
      } else if (Is("[")) {
        ASSIGN_OR_RETURN(node, Index(std::move(node), false));
      } else {
        return node;
      }
    }
  }

  /// At the opening bracket.
  Result<NodePtr> Index(NodePtr of, bool optional) {
    const size_t column = Current().column;
    Next();
    NodePtr first;
    if (!Is(":")) {
      ASSIGN_OR_RETURN(first, Expression(0));
    }
    if (Accept(":")) {
      NodePtr last;
      if (!Is("]")) {
        ASSIGN_OR_RETURN(last, Expression(0));
      }
      RETURN_IF_ERROR(Expect("]"));
      return MakeWith(NodeKind::kSlice, Op::kNone, column, std::move(of), std::move(first), std::move(last));
    }
    RETURN_IF_ERROR(Expect("]"));
    ASSIGN_OR_RETURN(NodePtr node,
                     MakeWith(NodeKind::kIndex, Op::kNone, column, std::move(of), std::move(first)));
    node->optional = optional;
    return node;
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  size_t depth_ = 0;
  size_t nodes_ = 0;
  size_t predicates_ = 0;
};

}  // namespace

Result<std::unique_ptr<Node>> ParseCondition(std::string_view text) {
  if (text.size() > kMaxConditionBytes)
    return InvalidArgument("column 1: found {} bytes, expected at most {}", text.size(), kMaxConditionBytes);
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(text));
  return Parser(std::move(tokens)).Run();
}

}  // namespace weir::analysis
