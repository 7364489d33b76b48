// Who divides what, where several want to.
#include "controller/model/claims.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/unit/controller/model/yaml_objects.h"

namespace weir::model {
namespace {

const std::string kServices = ServiceYaml("a", "10.96.0.1") + ServiceYaml("b", "10.96.0.2");
const std::string kParent = "parentRefs: [{group: \"\", kind: Service, name: a}]";
const std::string kToB = "rules: [{backendRefs: [{name: b, port: 80}]}]";

std::string Old(const std::string& name) {
  return "name: " + name + ", creationTimestamp: \"2026-01-01T00:00:00Z\"";
}
std::string Young(const std::string& name) {
  return "name: " + name + ", creationTimestamp: \"2026-01-02T00:00:00Z\"";
}

/// "80: HTTPRoute/r; 81: -; 53: -"
std::string Owners(const Claims& claims, const ObjectSet& set) {
  std::string text;
  const auto division = claims.divisions.find({"shop", "a"});
  for (const ServicePort& port : set.services.at({"shop", "a"}).ports) {
    const DrivenSplit* split = division == claims.divisions.end() ? nullptr : division->second.Of(port);
    text +=
        fmt::format("{}{}: {}", text.empty() ? "" : "; ", port.port, split == nullptr ? "-" : split->source);
  }
  return text;
}

/// "HTTPRoute shop/r[0]=Accepted", one each.
std::vector<std::string> Verdicts(const Claims& claims) {
  std::vector<std::string> lines;
  for (const auto& [id, verdict] : claims.routes) {
    for (const auto& [index, accepted] : verdict.accepted)
      lines.push_back(fmt::format("{}[{}]={}{}{}", ToString(id), index, accepted.reason,
                                  accepted.message.empty() ? "" : ": ", accepted.message));
  }
  return lines;
}

TEST(Claims, WhoDividesAPort) {
  const std::string kTo80 = "parentRefs: [{group: \"\", kind: Service, name: a, port: 80}]";
  const std::string kToAdmin = "parentRefs: [{group: core, kind: Service, name: a, sectionName: admin}]";
  const struct {
    std::string name, objects, owners;
    std::vector<std::string> verdicts;
  } kCases[] = {
      {"nobody", "", "80: -; 81: -; 53: -", {}},
      {"a TrafficSplit has all ports",
       SplitYaml("name: t", "a", "{service: b, weight: 1}"),
       "80: TrafficSplit/t; 81: TrafficSplit/t; 53: TrafficSplit/t",
       {}},
      {"a route without a port has all TCP ports",
       RouteYaml("HTTPRoute", "name: r", kParent + ", " + kToB),
       "80: HTTPRoute/r; 81: HTTPRoute/r; 53: -",
       {"HTTPRoute shop/r[0]=Accepted"}},
      {"a port by its number",
       RouteYaml("HTTPRoute", "name: r", kTo80 + ", " + kToB),
       "80: HTTPRoute/r; 81: -; 53: -",
       {"HTTPRoute shop/r[0]=Accepted"}},
      {"a port by its name",
       RouteYaml("TCPRoute", "name: r", kToAdmin + ", " + kToB),
       "80: -; 81: TCPRoute/r; 53: -",
       {"TCPRoute shop/r[0]=Accepted"}},
      {"two parents that are one Service",
       RouteYaml(
           "TCPRoute", "name: r",
           "parentRefs: [{group: \"\", kind: Service, name: a, port: 80}, {group: \"\", kind: Service, name: "
           "a, port: 81}], " +
               kToB),
       "80: TCPRoute/r; 81: TCPRoute/r; 53: -",
       {"TCPRoute shop/r[0]=Accepted", "TCPRoute shop/r[1]=Accepted"}},
      {"a Gateway is not ours",
       RouteYaml("HTTPRoute", "name: r", "parentRefs: [{name: a}], " + kToB),
       "80: -; 81: -; 53: -",
       {}},
      {"the older route has it",
       RouteYaml("HTTPRoute", Young("a"), kParent + ", " + kToB) +
           RouteYaml("HTTPRoute", Old("z"), kParent + ", " + kToB),
       "80: HTTPRoute/z; 81: HTTPRoute/z; 53: -",
       {"HTTPRoute shop/a[0]=Conflicted: HTTPRoute shop/z divides port 80; HTTPRoute shop/z divides port 81",
        "HTTPRoute shop/z[0]=Accepted"}},
      {"of two of one age the first by name",
       RouteYaml("HTTPRoute", Old("z"), kTo80 + ", " + kToB) +
           RouteYaml("GRPCRoute", Old("a"), kTo80 + ", " + kToB),
       "80: GRPCRoute/a; 81: -; 53: -",
       {"HTTPRoute shop/z[0]=Conflicted: GRPCRoute shop/a divides port 80", "GRPCRoute shop/a[0]=Accepted"}},
      {"a TCPRoute comes after, however old",
       RouteYaml("TCPRoute", Old("a"), kTo80 + ", " + kToB) +
           RouteYaml("HTTPRoute", Young("z"), kTo80 + ", " + kToB),
       "80: HTTPRoute/z; 81: -; 53: -",
       {"HTTPRoute shop/z[0]=Accepted", "TCPRoute shop/a[0]=Conflicted: HTTPRoute shop/z divides port 80"}},
      {"what is left is taken",
       RouteYaml("TCPRoute", Old("a"), kParent + ", " + kToB) +
           RouteYaml("HTTPRoute", Young("z"), kTo80 + ", " + kToB),
       "80: HTTPRoute/z; 81: TCPRoute/a; 53: -",
       {"HTTPRoute shop/z[0]=Accepted", "TCPRoute shop/a[0]=Accepted: HTTPRoute shop/z divides port 80"}},
      {"a TrafficSplit comes before a route, however old",
       RouteYaml("HTTPRoute", Old("r"), kParent + ", " + kToB) +
           SplitYaml(Young("t"), "a", "{service: b, weight: 1}"),
       "80: TrafficSplit/t; 81: TrafficSplit/t; 53: TrafficSplit/t",
       {"HTTPRoute shop/r[0]=Conflicted: TrafficSplit shop/t divides Service shop/a"}},
      {"the older TrafficSplit has it",
       SplitYaml(Young("a"), "a", "{service: b, weight: 1}") +
           SplitYaml(Old("z"), "a", "{service: b, weight: 1}"),
       "80: TrafficSplit/z; 81: TrafficSplit/z; 53: TrafficSplit/z",
       {}},
      {"a Rollout comes before both",
       RouteYaml("HTTPRoute", Old("r"), kParent + ", " + kToB) +
           SplitYaml(Old("t"), "a", "{service: b, weight: 1}") + RolloutYaml(Young("w"), "a"),
       "80: -; 81: -; 53: -",
       {"HTTPRoute shop/r[0]=Conflicted: Rollout shop/w divides Service shop/a"}},
      {"a route that is refused claims nothing",
       RouteYaml("HTTPRoute", Old("a"), kTo80 + ", hostnames: [x], " + kToB) +
           RouteYaml("HTTPRoute", Young("z"), kTo80 + ", " + kToB),
       "80: HTTPRoute/z; 81: -; 53: -",
       {"HTTPRoute shop/a[0]=UnsupportedValue: spec.hostnames: connect() sees addresses, not names",
        "HTTPRoute shop/z[0]=Accepted"}},
      {"no such parent, no such port, another namespace",
       RouteYaml("TCPRoute", "name: r",
                 "parentRefs: [{group: \"\", kind: Service, name: c}, {group: \"\", kind: Service, name: a, "
                 "port: 53}, "
                 "{group: \"\", kind: Service, namespace: other, name: a}], " +
                     kToB),
       "80: -; 81: -; 53: -",
       {"TCPRoute shop/r[0]=NoMatchingParent: found no Service shop/c",
        "TCPRoute shop/r[1]=NoMatchingParent: Service shop/a: found no such TCP port",
        "TCPRoute shop/r[2]=NoMatchingParent: found no Service other/a"}},
      {"headless",
       "---\napiVersion: v1\nkind: Service\nmetadata: {name: h, namespace: shop}\nspec: {clusterIP: None}\n" +
           RouteYaml("TCPRoute", "name: r", "parentRefs: [{group: \"\", kind: Service, name: h}], " + kToB),
       "80: -; 81: -; 53: -",
       {"TCPRoute shop/r[0]=UnsupportedValue: Service shop/h is headless: clients dial its endpoints "
        "themselves, so "
        "nothing can be divided"}},
  };
  for (const auto& test : kCases) {
    SCOPED_TRACE(test.name);
    const ObjectSet set = ReadObjects(kServices + test.objects);
    const Claims claims = ClaimsOf(set);
    EXPECT_EQ(Owners(claims, set), test.owners);
    EXPECT_EQ(Verdicts(claims), test.verdicts);
  }
}

// ---- for clients of one namespace

const std::string kAcross = "parentRefs: [{group: \"\", kind: Service, namespace: shop, name: a, port: 80}]";

/// A route of that namespace, to Service shop/a.
std::string ConsumerYaml(const std::string& kind, const std::string& ns, const std::string& metadata) {
  return "---\napiVersion: gateway.networking.k8s.io/v1\nkind: " + kind + "\nmetadata: {namespace: " + ns +
         ", " + metadata + "}\nspec: {" + kAcross + ", rules: [{backendRefs: [{name: c, port: 80}]}]}\n";
}

/// "*: HTTPRoute/r; lab: HTTPRoute/own": who divides port 80 of shop/a for whom.
std::string For80(const Claims& claims) {
  const auto division = claims.divisions.find({"shop", "a"});
  if (division == claims.divisions.end()) return "";
  const ServicePort port{"http", 80, Protocol::kTcp};
  const DrivenSplit* all = division->second.Of(port);
  std::string text = fmt::format("*: {}", all == nullptr ? "-" : all->source);
  for (const auto& [ns, ports] : division->second.consumers) {
    const DrivenSplit* own = division->second.OwnOf(ns, port);
    text += fmt::format("; {}: {}", ns, own == nullptr ? "-" : own->source);
  }
  return text;
}

TEST(Claims, WhoDividesForClientsOfOneNamespace) {
  const std::string kProducer =
      RouteYaml("HTTPRoute", Old("all"), "parentRefs: [{group: \"\", kind: Service, name: a}], " + kToB);
  const struct {
    std::string name, objects, owners;
    std::vector<std::string> verdicts;
  } kCases[] = {
      {"alone",
       ConsumerYaml("HTTPRoute", "lab", "name: own"),
       "*: -; lab: HTTPRoute/own",
       {"HTTPRoute lab/own[0]=Accepted"}},
      {"beside the producer's, whichever is older",
       kProducer + ConsumerYaml("HTTPRoute", "lab", Young("own")) +
           ConsumerYaml("TCPRoute", "den", Old("own")),
       "*: HTTPRoute/all; den: TCPRoute/own; lab: HTTPRoute/own",
       {"HTTPRoute lab/own[0]=Accepted", "HTTPRoute shop/all[0]=Accepted", "TCPRoute den/own[0]=Accepted"}},
      {"beside a Rollout",
       RolloutYaml("name: ro", "a") + ConsumerYaml("GRPCRoute", "lab", "name: own"),
       "*: -; lab: GRPCRoute/own",
       {"GRPCRoute lab/own[0]=Accepted"}},
      {"beside a TrafficSplit",
       SplitYaml("name: t", "a", "{service: b, weight: 1}") + ConsumerYaml("HTTPRoute", "lab", "name: own"),
       "*: TrafficSplit/t; lab: HTTPRoute/own",
       {"HTTPRoute lab/own[0]=Accepted"}},
      {"of two of one namespace the older",
       ConsumerYaml("HTTPRoute", "lab", Young("a")) + ConsumerYaml("HTTPRoute", "lab", Old("z")),
       "*: -; lab: HTTPRoute/z",
       {"HTTPRoute lab/a[0]=Conflicted: HTTPRoute lab/z divides port 80", "HTTPRoute lab/z[0]=Accepted"}},
      {"two namespaces that nodes could not tell apart",
       ConsumerYaml("HTTPRoute", "team-88728", Young("r")) +
           ConsumerYaml("HTTPRoute", "team-80280", Old("r")),
       "*: -; team-80280: HTTPRoute/r",
       {"HTTPRoute team-80280/r[0]=Accepted",
        "HTTPRoute team-88728/r[0]=UnsupportedValue: nodes cannot tell clients of namespace team-88728 from "
        "those of team-80280, which has the same number 652f4725 and older routes; use a namespace of "
        "another "
        "name"}},
  };
  for (const auto& test : kCases) {
    SCOPED_TRACE(test.name);
    const Claims claims =
        ClaimsOf(ReadObjects(kServices + ServiceYaml("c", "10.96.0.3", "lab") + test.objects));
    EXPECT_EQ(For80(claims), test.owners);
    EXPECT_EQ(Verdicts(claims), test.verdicts);
  }
}

TEST(Claims, ANamespacesNumberStaysTheSame) {
  // Kernels hold it, and agents and controllers of other versions.
  EXPECT_EQ(ConsumersNumber("team-80280"), 0x652f4725U);
  EXPECT_EQ(ConsumersNumber("team-88728"), 0x652f4725U);
  EXPECT_NE(ConsumersNumber("default"), ConsumersNumber("kube-system"));
}

const std::string kOther = ServiceYaml("c", "10.96.0.3", "other");

/// "b*1 c*0!", where "!" leads nowhere; then what becomes of empty ones, and the finding on references.
std::string Driven(const std::string& kind, const std::string& backends, const std::string& objects = "") {
  const ObjectSet set =
      ReadObjects(kServices + kOther + objects +
                  RouteYaml(kind, "name: r", kParent + ", rules: [{backendRefs: [" + backends + "]}]"));
  const Claims claims = ClaimsOf(set);
  const RouteVerdict& verdict = claims.routes.begin()->second;
  const auto division = claims.divisions.find({"shop", "a"});
  if (division == claims.divisions.end()) return verdict.accepted.begin()->second.message;
  const DrivenSplit& split = division->second.tcp.at(80);
  std::string text;
  for (const DrivenBackend& backend : split.backends)
    text += fmt::format("{}*{}{} ", backend.name, backend.weight, backend.resolved ? "" : "!");
  const char* const kWords[] = {"skip", "refuse its share"};
  text += fmt::format("| {} | {}", kWords[static_cast<size_t>(split.empty)], verdict.resolved_refs.reason);
  if (!verdict.resolved_refs.message.empty()) text += ": " + verdict.resolved_refs.message;
  return text;
}

TEST(Claims, WhereARouteLeads) {
  const std::string kGrant =
      "---\napiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: g, "
      "namespace: other}\nspec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: "
      "shop}], "
      "to: [{group: \"\", kind: Service, name: c}]}\n";
  const std::string kToC = "{namespace: other, name: c, port: 80}";
  EXPECT_EQ(Driven("HTTPRoute", "{name: b, port: 80, weight: 20}, {name: a, port: 80, weight: 80}"),
            "b*20 a*80 | skip | ResolvedRefs");
  EXPECT_EQ(Driven("GRPCRoute", "{name: b, port: 80}"), "b*1 | skip | ResolvedRefs");
  EXPECT_EQ(Driven("TCPRoute", "{name: b, port: 80, weight: 0}"), "b*0 | refuse its share | ResolvedRefs");
  EXPECT_EQ(Driven("HTTPRoute", ""), "| refuse its share | ResolvedRefs");
  EXPECT_EQ(Driven("GRPCRoute", "{name: b, port: 80, weight: 0}"), "b*0 | refuse its share | ResolvedRefs");
  EXPECT_EQ(Driven("HTTPRoute", "{name: b, port: 80}, {name: b, port: 81, weight: 3}"),
            "b:80*1 b:81*3 | skip | ResolvedRefs");
  EXPECT_EQ(Driven("HTTPRoute", "{name: b, port: 80}, {name: a, port: 80}, {name: b, port: 80, weight: 3}"),
            "b*4 a*1 | skip | ResolvedRefs");
  EXPECT_EQ(Driven("HTTPRoute",
                   "{name: b, port: 80, weight: 1000000}, {name: b, port: 80, weight: 1000000}, {name: "
                   "a, port: 80, weight: 1000000}"),
            "b*2 a*1 | skip | ResolvedRefs");
  EXPECT_EQ(Driven("HTTPRoute",
                   "{name: b, port: 80, weight: 999999}, {name: b, port: 80, weight: 1000000}, {name: a, "
                   "port: 80, weight: 1000000}"),
            "the weights add up to proportions that integers up to 1000000 cannot express");
  EXPECT_EQ(
      Driven("HTTPRoute", "{name: x, port: 80}, {name: b, port: 80}, {name: a, port: 8080}"),
      "x*1! b*1 a*1! | refuse its share | BackendNotFound: found no Service shop/x; Service shop/a: found no "
      "port 8080 (TCP)");
  EXPECT_EQ(Driven("HTTPRoute", "{name: b, port: 53}").find("b*1! | refuse its share | BackendNotFound"), 0U)
      << "a UDP port is none";
  EXPECT_EQ(Driven("HTTPRoute", "{kind: Foo, group: x, name: b}"),
            "Foo/b*1! | refuse its share | InvalidKind: Foo b: found kind x/Foo, expected Service");
  EXPECT_EQ(Driven("HTTPRoute", kToC, kGrant), "other/c*1 | skip | ResolvedRefs");
  const std::string kRefused = "other/c*1! | refuse its share | RefNotPermitted";
  EXPECT_EQ(Driven("HTTPRoute", kToC).find(kRefused), 0U);
  EXPECT_EQ(Driven("GRPCRoute", kToC, kGrant).find(kRefused), 0U) << "granted to another kind";
  EXPECT_EQ(Driven("HTTPRoute", "{namespace: other, name: d, port: 80}", kGrant).find("other/d*1! | "), 0U)
      << "another name";
}

}  // namespace
}  // namespace weir::model
