#include "cli/completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "cli/context.h"

namespace weir::cli {
namespace {

enum class ValueKind { kNone, kWord, kChoice, kFile, kRollout, kService };

struct Argument {
  std::vector<std::string> names;  // "-o", "--output"; of a positional its bare name
  std::string description;
  ValueKind value = ValueKind::kNone;
  std::vector<std::string> choices;
};

struct Command {
  std::string name;
  std::string description;
  std::vector<Argument> options;
  std::vector<Argument> positionals;
};

struct Tree {
  Command root;
  std::vector<Command> commands;
};

Argument Describe(const CLI::Option& option) {
  Argument argument;
  argument.description = option.get_description();
  if (option.get_positional()) {
    argument.names.push_back(option.get_single_name());
  } else {
    for (const std::string& name : option.get_snames()) argument.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) argument.names.push_back("--" + name);
  }
  if (option.get_items_expected_max() == 0) return argument;  // a flag
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  const size_t close = type.find('}', open);
  if (open != std::string::npos && close != std::string::npos) {
    argument.value = ValueKind::kChoice;
    argument.choices = CLI::detail::split(type.substr(open + 1, close - open - 1), ',');
  } else if (type.starts_with("PATH") || type.starts_with("FILE")) {
    argument.value = ValueKind::kFile;
  } else {
    argument.value = type == "ROLLOUT"   ? ValueKind::kRollout
                     : type == "SERVICE" ? ValueKind::kService
                                         : ValueKind::kWord;
  }
  return argument;
}

Command Describe(const CLI::App& app) {
  Command command{app.get_name(), app.get_description(), {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    (option->get_positional() ? command.positionals : command.options).push_back(Describe(*option));
  }
  return command;
}

Tree DescribeTree(const CLI::App& app) {
  Tree tree{Describe(app), {}};
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    tree.commands.push_back(Describe(*command));
  }
  return tree;
}

std::vector<std::string> CommandNames(const Tree& tree) {
  std::vector<std::string> names;
  for (const Command& command : tree.commands) names.push_back(command.name);
  return names;
}

std::vector<std::string> OptionNames(const Command& command) {
  std::vector<std::string> names;
  for (const Argument& option : command.options)
    names.insert(names.end(), option.names.begin(), option.names.end());
  return names;
}

/// Single quotes for any shell word: it's -> 'it'\''s'.
std::string Quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c;
    }
  }
  return result + "'";
}

constexpr char kRolloutNames[] = "weirctl get rollouts -o name 2>/dev/null";
constexpr char kServiceNames[] = "weirctl get services -o name 2>/dev/null";

// bash

std::string BashReply(const Argument& argument) {
  switch (argument.value) {
    case ValueKind::kChoice:
      return fmt::format("mapfile -t COMPREPLY < <(compgen -W {} -- \"$current\")",
                         Quoted(fmt::format("{}", fmt::join(argument.choices, " "))));
    case ValueKind::kFile:
      return "mapfile -t COMPREPLY < <(compgen -f -- \"$current\")";
    case ValueKind::kRollout:
    case ValueKind::kService:
      return fmt::format("mapfile -t COMPREPLY < <(compgen -W \"$({})\" -- \"$current\")",
                         argument.value == ValueKind::kRollout ? kRolloutNames : kServiceNames);
    case ValueKind::kWord:
    case ValueKind::kNone:
      return "COMPREPLY=()";
  }
  return "";
}

/// `commands` is the case pattern for the word before the colon.
void AppendBashValues(const Command& command, std::string_view commands, std::string& out) {
  for (const Argument& option : command.options) {
    if (option.value == ValueKind::kNone) continue;
    std::vector<std::string> patterns;
    for (const std::string& name : option.names) patterns.push_back(fmt::format("{}:{}", commands, name));
    out += fmt::format("    {}) {}; return ;;\n", fmt::join(patterns, " | "), BashReply(option));
  }
}

// zsh

std::string ZshEscaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

std::string ZshValue(const Argument& argument) {
  const std::string label =
      ZshEscaped(argument.names.back().substr(argument.names.back().find_first_not_of('-')));
  switch (argument.value) {
    case ValueKind::kNone:
      return "";
    case ValueKind::kWord:
      return fmt::format(":{}: ", label);
    case ValueKind::kChoice:
      return fmt::format(":{}:({})", label, fmt::join(argument.choices, " "));
    case ValueKind::kFile:
      return fmt::format(":{}:_files", label);
    case ValueKind::kRollout:
      return fmt::format(":{}:_weirctl_rollouts", label);
    case ValueKind::kService:
      return fmt::format(":{}:_weirctl_services", label);
  }
  return "";
}

void AppendZshArguments(const Tree& tree, const Command& command, std::string& out) {
  std::vector<const Argument*> options;
  for (const Argument& option : tree.root.options) options.push_back(&option);
  for (const Argument& option : command.options) {
    if (option.names.back() != "--help") options.push_back(&option);  // the root has it already
  }
  for (const Argument* option : options) {
    // A file may be given again; everything else once.
    const bool again = option->value == ValueKind::kFile && option->names.front() == "-f";
    for (const std::string& name : option->names) {
      const std::string others = again ? "*" : fmt::format("({})", fmt::join(option->names, " "));
      out += " \\\n        " + Quoted(fmt::format("{}{}[{}]{}", others, name, ZshEscaped(option->description),
                                                  ZshValue(*option)));
    }
  }
  for (size_t i = 0; i < command.positionals.size(); ++i) {
    out += " \\\n        " + Quoted(std::to_string(i + 1) + ZshValue(command.positionals[i]));
  }
  out += '\n';
}

// fish

std::string FishValue(const Argument& argument) {
  switch (argument.value) {
    case ValueKind::kNone:
      return "";
    case ValueKind::kWord:
      return " -x";
    case ValueKind::kChoice:
      return fmt::format(" -x -a {}", Quoted(fmt::format("{}", fmt::join(argument.choices, " "))));
    case ValueKind::kFile:
      return " -r -F";
    case ValueKind::kRollout:
      return fmt::format(" -x -a {}", Quoted(fmt::format("({})", kRolloutNames)));
    case ValueKind::kService:
      return fmt::format(" -x -a {}", Quoted(fmt::format("({})", kServiceNames)));
  }
  return "";
}

void AppendFishOptions(const Command& command, const std::string& condition, std::string& out) {
  for (const Argument& option : command.options) {
    if (option.names.back() == "--help") continue;
    out += "complete -c weirctl" + condition;
    for (const std::string& name : option.names) {
      out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
    }
    out += FishValue(option) + " -d " + Quoted(option.description) + "\n";
  }
}

struct CompletionFlags {
  std::string shell;
};

}  // namespace

std::string BashCompletion(const CLI::App& app) {
  const Tree tree = DescribeTree(app);
  std::string values;
  AppendBashValues(tree.root, "*", values);
  std::vector<std::string> with_value;
  const auto collect = [&](const Command& command) {
    for (const Argument& option : command.options) {
      if (option.value != ValueKind::kNone)
        with_value.insert(with_value.end(), option.names.begin(), option.names.end());
    }
  };
  collect(tree.root);
  std::string options;
  std::string positionals =
      fmt::format("    :0) mapfile -t COMPREPLY < <(compgen -W {} -- \"$current\") ;;\n",
                  Quoted(fmt::format("{}", fmt::join(CommandNames(tree), " "))));
  for (const Command& command : tree.commands) {
    AppendBashValues(command, command.name, values);
    collect(command);
    options += fmt::format("      {}) words+=' {}' ;;\n", command.name, fmt::join(OptionNames(command), " "));
    for (size_t i = 0; i < command.positionals.size(); ++i) {
      positionals += fmt::format("    {}:{}) {} ;;\n", command.name, i, BashReply(command.positionals[i]));
    }
  }
  std::sort(with_value.begin(), with_value.end());
  with_value.erase(std::unique(with_value.begin(), with_value.end()), with_value.end());
  std::string out;
  out += "# bash completion of weirctl: source <(weirctl completion bash)\n";
  out += "_weirctl() {\n";
  out += "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n";
  out += "  local command='' position=0 i words\n";
  out += "  for ((i = 1; i < COMP_CWORD; ++i)); do\n";
  out += "    case ${COMP_WORDS[i]} in\n";
  out += fmt::format("      {} | : | =) ((++i)) ;;\n", fmt::join(with_value, " | "));
  out += "      -*) ;;\n";
  out += "      *) if [[ -z $command ]]; then command=${COMP_WORDS[i]}; else ((++position)); fi ;;\n";
  out += "    esac\n";
  out += "  done\n";
  out += "  case $command:$previous in\n" + values + "  esac\n";
  out += "  if [[ $current == -* ]]; then\n";
  out += fmt::format("    words={}\n", Quoted(fmt::format("{}", fmt::join(OptionNames(tree.root), " "))));
  out += "    case $command in\n" + options + "    esac\n";
  out += "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n";
  out += "    return\n";
  out += "  fi\n";
  out += "  case $command:$position in\n" + positionals + "  esac\n";
  out += "}\n";
  out += "complete -F _weirctl weirctl\n";
  return out;
}

std::string ZshCompletion(const CLI::App& app) {
  const Tree tree = DescribeTree(app);
  std::string out = "#compdef weirctl\n# zsh completion of weirctl: source <(weirctl completion zsh)\n";
  for (const auto& [kind, names] :
       {std::pair("rollout", kRolloutNames), std::pair("service", kServiceNames)}) {
    out += fmt::format(
        "_weirctl_{0}s() {{\n  local -a names\n  names=(${{(f)\"$({1})\"}})\n  _describe {0} names\n}}\n",
        kind, names);
  }
  out +=
      "_weirctl() {\n  local context state state_descr line\n  typeset -A opt_args\n  local -a commands\n  "
      "commands=(\n";
  for (const Command& command : tree.commands) {
    out += "    " + Quoted(command.name + ":" + ZshEscaped(command.description)) + "\n";
  }
  out += "  )\n  _arguments -C";
  AppendZshArguments(tree, {}, out);
  // The last line of the arguments goes on with what the root has besides options.
  out.pop_back();
  out += " \\\n        '1:command:->command' \\\n        '*::argument:->argument'\n";
  out +=
      "  case $state in\n    command) _describe command commands ;;\n    argument)\n      case $words[1] "
      "in\n";
  for (const Command& command : tree.commands) {
    out += fmt::format("      {}) _arguments", command.name);
    AppendZshArguments(tree, command, out);
    out += "        ;;\n";
  }
  out += "      esac ;;\n  esac\n}\n";
  // Sourced, it registers itself; found in fpath, compinit has done so and the function is to run.
  out += "if [[ $funcstack[1] == _weirctl ]]; then _weirctl \"$@\"; else compdef _weirctl weirctl; fi\n";
  return out;
}

std::string FishCompletion(const CLI::App& app) {
  const Tree tree = DescribeTree(app);
  std::string out =
      "# fish completion of weirctl: weirctl completion fish | source\ncomplete -c weirctl -f\n";
  out += "complete -c weirctl -s h -l help -d 'show help'\n";
  AppendFishOptions(tree.root, "", out);
  for (const Command& command : tree.commands) {
    out += fmt::format("complete -c weirctl -n __fish_use_subcommand -a {} -d {}\n", command.name,
                       Quoted(command.description));
  }
  for (const Command& command : tree.commands) {
    const std::string seen = "__fish_seen_subcommand_from " + command.name;
    AppendFishOptions(command, " -n " + Quoted(seen), out);
    for (size_t i = 0; i < command.positionals.size(); ++i) {
      const Argument& positional = command.positionals[i];
      if (positional.value == ValueKind::kWord) continue;
      // A choice is offered until one of it stands on the line.
      const std::string choices = fmt::format("{}", fmt::join(positional.choices, " "));
      const std::string condition =
          choices.empty() ? seen : seen + "; and not __fish_seen_subcommand_from " + choices;
      out += "complete -c weirctl -n " + Quoted(condition) + FishValue(positional) + "\n";
    }
  }
  return out;
}

void AddCompletionCommand(CLI::App& app, Context& context) {
  auto flags = std::make_shared<CompletionFlags>();
  CLI::App* completion =
      app.add_subcommand("completion", "Print a script that completes weirctl's command line");
  completion->add_option("shell", flags->shell, "the shell it is for")
      ->type_name("SHELL")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([&app, &context, flags] {
    context.action = [&app, &context, flags]() -> Result<int> {
      context.environment.out << (flags->shell == "bash"  ? BashCompletion(app)
                                  : flags->shell == "zsh" ? ZshCompletion(app)
                                                          : FishCompletion(app));
      return kExitOk;
    };
  });
}

}  // namespace weir::cli
