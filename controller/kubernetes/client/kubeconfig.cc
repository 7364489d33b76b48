#include <openssl/evp.h>

#include <array>
#include <filesystem>
#include <memory>
#include <optional>

#include "common/address.h"
#include "controller/kubernetes/client/access.h"
#include "controller/kubernetes/client/files.h"
#include "controller/model/yaml_reader.h"

namespace weir::kubernetes {
namespace {

using model::Cursor;
using model::Refusal;
using model::YamlDocument;
using model::YamlError;

constexpr std::string_view kUseToken =
    "give a token (`kubectl create token SERVICEACCOUNT`) or a client certificate";
constexpr std::array kRefusedOfUser = {
    Refusal{"exec", "Weir runs no credential plug-ins", kUseToken},
    Refusal{"auth-provider", "Kubernetes has removed these plug-ins", kUseToken},
    Refusal{"username", "Kubernetes has removed passwords", kUseToken},
    Refusal{"password", "Kubernetes has removed passwords", kUseToken},
    Refusal{"as", "Weir does not impersonate", "give the credentials of the user that is meant"},
    Refusal{"as-uid", "Weir does not impersonate", "give the credentials of the user that is meant"},
    Refusal{"as-groups", "Weir does not impersonate", "give the credentials of the user that is meant"},
    Refusal{"as-user-extra", "Weir does not impersonate", "give the credentials of the user that is meant"},
};
constexpr std::array kRefusedOfCluster = {
    Refusal{"proxy-url", "Weir dials the API server itself", "give an address that can be reached"},
};

/// Base64 as RFC 4648 has it, with padding; blanks between are skipped.
std::optional<std::string> DecodeBase64(const std::string& text) {
  std::string out(text.size(), '\0');
  const std::unique_ptr<EVP_ENCODE_CTX, void (*)(EVP_ENCODE_CTX*)> context(EVP_ENCODE_CTX_new(),
                                                                           EVP_ENCODE_CTX_free);
  EVP_DecodeInit(context.get());
  int size = 0, rest = 0;
  auto* to = reinterpret_cast<unsigned char*>(out.data());
  const auto* from = reinterpret_cast<const unsigned char*>(text.data());
  if (EVP_DecodeUpdate(context.get(), to, &size, from, static_cast<int>(text.size())) < 0 ||
      EVP_DecodeFinal(context.get(), to + size, &rest) < 0)
    return std::nullopt;
  out.resize(static_cast<size_t>(size) + static_cast<size_t>(rest));
  return out;
}

class Reader {
 public:
  Reader(const std::string& path, std::vector<YamlError>& errors)
      : folder_(std::filesystem::path(path).parent_path()), errors_(errors) {}

  void Read(const Cursor& file, std::string context_name, Access& access) {
    if (!file.ExpectMap({"apiVersion", "kind", "preferences", "clusters", "users", "contexts",
                         "current-context", "extensions"}))
      return;
    if (context_name.empty()) {
      const auto current = file.RequireString("current-context", "the name of a context",
                                              "choose one: `kubectl config use-context NAME`");
      if (!current) return;
      context_name = *current;
    }
    access.origin += " (context " + context_name + ")";
    std::string cluster_name, user_name;
    WithNamed(file, "contexts", "context", context_name, [&](const Cursor& context) {
      if (!context.ExpectMap({"cluster", "user", "namespace", "extensions"})) return;
      cluster_name = context.RequireString("cluster", "the name of a cluster").value_or("");
      user_name = context.StringAt("user").value_or("");
      if (const auto ns = context.StringAt("namespace"); ns && !ns->empty()) access.ns = *ns;
    });
    if (cluster_name.empty()) return;
    WithNamed(file, "clusters", "cluster", cluster_name,
              [&](const Cursor& cluster) { ReadCluster(cluster, access); });
    // No user at all: an API server or a proxy that asks for none.
    if (user_name.empty()) return;
    WithNamed(file, "users", "user", user_name, [&](const Cursor& user) { ReadUser(user, access); });
  }

 private:
  /// Calls `use` with the value `inner` of the entry of `list` that has the name.
  template <typename Use>
  void WithNamed(const Cursor& file, std::string_view list, std::string_view inner, const std::string& name,
                 const Use& use) {
    std::vector<std::string> names;
    if (const auto entries = file.Find(list)) {
      for (const Cursor& entry : entries->Items()) {
        if (!entry.ExpectMap({"name", inner})) return;
        const auto found = entry.StringAt("name");
        if (!found) continue;
        if (*found != name) {
          names.push_back(*found);
          continue;
        }
        // `user: {}` is what an entry without credentials looks like; so may nothing at all.
        if (const auto value = entry.Find(inner)) use(*value);
        return;
      }
    }
    errors_.push_back(
        {file.line(), std::string(list),
         fmt::format("found no {} {:?}, expected {}", inner, name,
                     names.empty() ? "one of that name" : fmt::format("one of {}", fmt::join(names, ", ")))});
  }

  void ReadCluster(const Cursor& cluster, Access& access) {
    if (!cluster.ExpectMap(
            {"server", "certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify",
             "tls-server-name", "disable-compression", "extensions"},
            kRefusedOfCluster))
      return;
    if (const auto server = cluster.Require("server", "the API server's URL")) {
      if (const auto text = server->String()) ReadServer(*server, *text, access);
    }
    access.ca_pem = FileOrData(cluster, "certificate-authority");
    access.insecure = cluster.BooleanAt("insecure-skip-tls-verify").value_or(false);
    access.tls_server_name = cluster.StringAt("tls-server-name").value_or("");
    if (access.insecure && !access.ca_pem.empty())
      cluster.FailText("found insecure-skip-tls-verify beside a certificate-authority; remove one of them");
  }

  static void ReadServer(const Cursor& field, const std::string& text, Access& access) {
    auto url = ParseUrl(text);
    if (!url.ok()) return field.FailText(Message(url.status()));
    if (!url->https && !HostPort{.host = url->host, .port = url->port}.is_loopback()) {
      return field.FailText(model::Complaint(model::Quote(text),
                                             "https://: a token must not cross the network in plain text",
                                             "plain http is for `kubectl proxy` on 127.0.0.1"));
    }
    access.server = *std::move(url);
  }

  void ReadUser(const Cursor& user, Access& access) {
    if (!user.ExpectMap({"client-certificate", "client-certificate-data", "client-key", "client-key-data",
                         "token", "tokenFile", "extensions"},
                        kRefusedOfUser))
      return;
    access.client_cert_pem = FileOrData(user, "client-certificate");
    access.client_key_pem = FileOrData(user, "client-key");
    if (access.client_cert_pem.empty() != access.client_key_pem.empty())
      user.FailText("found one of client-certificate and client-key, expected both or neither");
    if (const auto token = user.Find("token")) {
      access.token = token->String().value_or("");
      // It goes into a header: nothing that would end the line. It is a secret: not repeated here.
      if (access.token.find_first_of(" \t\r\n") != std::string::npos)
        token->FailText("found a token with blanks, expected one word");
    }
    if (const auto file = user.StringAt("tokenFile"); file && !file->empty())
      access.token_file = Resolve(*file);
  }

  /// "NAME-data" goes before "NAME", as with kubectl.
  std::string FileOrData(const Cursor& map, const std::string& name) {
    const std::string data_name = name + "-data";
    if (const auto data = map.Find(data_name)) {
      const auto text = data->String();
      if (!text) return "";
      auto decoded = DecodeBase64(*text);
      if (!decoded) data->FailText("found no base64, expected a PEM file in base64");
      return decoded.value_or("");
    }
    const auto field = map.Find(name);
    const auto path = field ? field->String() : std::nullopt;
    if (!path || path->empty()) return "";
    auto text = ReadSmallFile(Resolve(*path));
    if (text.ok()) return *std::move(text);
    field->FailText(Message(text.status()));
    return "";
  }

  std::string Resolve(const std::string& path) const { return (folder_ / path).string(); }

  std::filesystem::path folder_;
  std::vector<YamlError>& errors_;
};

Status AllErrors(const std::string& path, const std::vector<YamlError>& errors) {
  if (errors.empty()) return OkStatus();
  std::string text;
  for (const YamlError& error : errors) {
    if (!text.empty()) text += '\n';
    text += fmt::format("{}:{}: ", path, error.line);
    if (!error.path.empty()) text += error.path + ": ";
    text += error.text;
  }
  return Status(absl::StatusCode::kInvalidArgument, text);
}

}  // namespace

Result<Access> FromKubeconfig(const std::string& path, const std::string& context) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  Access access;
  access.origin = path;
  std::vector<YamlError> errors;
  bool read = false;
  const auto take = [&](const YamlDocument& document) {
    if (std::exchange(read, true)) return;
    errors = document.errors;
    if (!errors.empty()) return;
    Reader(path, errors).Read(Cursor(*document.root, errors), context, access);
  };
  for (YamlError& error : model::ReadYaml(text, take)) errors.push_back(std::move(error));
  RETURN_IF_ERROR(AllErrors(path, errors));
  if (!read) return InvalidArgument("{}: found an empty file, expected a kubeconfig", path);
  return access;
}

}  // namespace weir::kubernetes
