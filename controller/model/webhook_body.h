// The text that a webhook is sent: a template with {{names}}. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "common/status.h"

namespace weir::model {

/// What is known of an event, by name.
using WebhookFields = std::map<std::string, std::string>;

/// INVALID_ARGUMENT for {{ without }} and for a name that no event has.
Status CheckWebhookBody(std::string_view body);

/// Each {{name}} replaced by its value as it stands inside a JSON string, quotes not included; a name that is
/// not in `fields` by nothing. `body` has been checked.
std::string RenderWebhookBody(std::string_view body, const WebhookFields& fields);

/// Used where a Webhook has no body of its own: a JSON object with every field.
std::string_view DefaultWebhookBody();

}  // namespace weir::model
