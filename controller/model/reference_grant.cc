// gateway.networking.k8s.io ReferenceGrant.
#include "controller/model/kinds.h"

namespace weir::model {

ReferenceGrant ReadReferenceGrant(const Cursor& document, const Metadata& metadata) {
  ReferenceGrant grant;
  grant.key = metadata.key;
  document.ExpectMap({"apiVersion", "kind", "metadata", "spec", "status"});
  const auto spec = document.Require("spec", "a map with from and to");
  if (!spec || !spec->ExpectMap({"from", "to"})) return grant;
  if (const auto from = spec->Require("from", "a list of who may refer here")) {
    const auto items = from->Items();
    for (const Cursor& item : items) {
      if (!item.ExpectMap({"group", "kind", "namespace"})) continue;
      grant.from.push_back({item.StringAt("group").value_or(""),
                            item.RequireString("kind", "a kind, such as HTTPRoute").value_or(""),
                            item.RequireString("namespace", "the name of a namespace").value_or("")});
    }
  }
  if (const auto to = spec->Require("to", "a list of what may be referred to")) {
    const auto items = to->Items();
    for (const Cursor& item : items) {
      if (!item.ExpectMap({"group", "kind", "name"})) continue;
      grant.to.push_back({item.StringAt("group").value_or(""),
                          item.RequireString("kind", "a kind, such as Service").value_or(""),
                          item.StringAt("name").value_or("")});
    }
  }
  return grant;
}

}  // namespace weir::model
