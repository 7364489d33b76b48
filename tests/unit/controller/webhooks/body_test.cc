// What is sent: templates, the examples, the signature.
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "controller/model/manifest.h"
#include "controller/webhooks/sender.h"

namespace weir::webhooks {
namespace {

model::WebhookFields Nasty() {
  model::WebhookFields fields = FieldsOf({"shop", "checkout"}, engine::State{}, engine::TimePoint{});
  fields["message"] = "a \"b\" \\ c\nd\te {{event}}";
  fields["event"] = "aborted";
  return fields;
}

TEST(WebhookBody, ValuesStandInsideJsonStrings) {
  EXPECT_EQ(model::RenderWebhookBody("{\"m\": \"{{ message }}\"}", Nasty()),
            R"({"m": "a \"b\" \\ c\nd\u0009e {{event}}"})");
  EXPECT_EQ(model::RenderWebhookBody("{{event}}{{event}} {x} }}", Nasty()), "abortedaborted {x} }}");
  EXPECT_EQ(model::RenderWebhookBody("", Nasty()), "");
}

TEST(WebhookBody, WithoutATemplateEveryFieldIsThere) {
  ASSERT_TRUE(model::CheckWebhookBody(model::DefaultWebhookBody()).ok());
  const auto value =
      boost::json::parse(model::RenderWebhookBody(model::DefaultWebhookBody(), Nasty())).as_object();
  EXPECT_EQ(value.at("event"), "aborted");
  EXPECT_EQ(value.at("message"), "a \"b\" \\ c\nd\te {{event}}");
  for (const auto& [name, text] : Nasty()) EXPECT_TRUE(value.contains(name)) << name;
}

TEST(WebhookBody, TheExamplesAreManifestsWhoseBodiesAreJson) {
  size_t examples = 0;
  for (const auto& file : std::filesystem::directory_iterator(WEIR_WEBHOOK_EXAMPLES)) {
    if (file.path().extension() != ".yaml") continue;
    std::ostringstream text;
    text << std::ifstream(file.path()).rdbuf();
    const auto documents = model::ParseManifests(text.str(), file.path().filename().string());
    ASSERT_TRUE(documents.ok()) << documents.status();
    for (const auto& document : *documents) {
      const auto& webhook = std::get<model::Webhook>(document.object);
      boost::json::error_code error;
      const std::string_view body =
          webhook.body_template.empty() ? model::DefaultWebhookBody() : webhook.body_template;
      boost::json::parse(model::RenderWebhookBody(body, Nasty()), error);
      EXPECT_FALSE(error) << webhook.key.name << ": " << error.message();
      ++examples;
    }
  }
  EXPECT_GE(examples, 3u);
}

TEST(WebhookSignature, Rfc4231) {
  EXPECT_EQ(HmacSha256("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(HmacSha256(std::string(20, '\x0b'), "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}

}  // namespace
}  // namespace weir::webhooks
