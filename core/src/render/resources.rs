//! CPU and memory of the containers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceClaim, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use serde_json::Value;

use super::RenderError;
use crate::api::node::SeiNodeSpec;
use crate::platform::RoleResources;
use crate::quantity::Quantity;

/// Of seid: CPU is asked for and not limited, memory is both.
pub(super) fn of_seid(role: RoleResources) -> ResourceRequirements {
    let memory = role.memory.to_api();
    ResourceRequirements {
        limits: Some(quantities([("memory", memory.clone())])),
        requests: Some(quantities([("cpu", role.cpu_request.to_api()), ("memory", memory)])),
        ..ResourceRequirements::default()
    }
}

/// Of the exporter: small and fixed.
pub(super) fn of_exporter() -> ResourceRequirements {
    let fixed = |text: &str| ApiQuantity(text.to_owned());
    ResourceRequirements {
        limits: Some(quantities([("memory", fixed("384Mi"))])),
        requests: Some(quantities([("cpu", fixed("50m")), ("memory", fixed("64Mi"))])),
        ..ResourceRequirements::default()
    }
}

/// Of the sidecar: what the spec says, numbers and texts alike turned into canonical quantities.
pub(super) fn of_sidecar(spec: &SeiNodeSpec) -> Result<Option<ResourceRequirements>, RenderError> {
    let Some(given) = spec.sidecar.as_ref().and_then(|sidecar| sidecar.resources.as_ref()) else {
        return Ok(None);
    };
    let fields = match given {
        Value::Null => return Ok(None),
        Value::Object(fields) => fields,
        _ => return Err(shape("", "an object")),
    };
    let claims = match fields.get("claims") {
        None | Some(Value::Null) => None,
        Some(claims) => Some(
            serde_json::from_value::<Vec<ResourceClaim>>(claims.clone())
                .map_err(|_| shape(".claims", "a list of claims"))?,
        ),
    };
    Ok(Some(ResourceRequirements {
        claims,
        limits: amounts(fields.get("limits"), ".limits")?,
        requests: amounts(fields.get("requests"), ".requests")?,
    }))
}

/// Go's memory limit for a container with this memory: 87 % of it, so that the runtime collects before the
/// kernel kills.
pub(super) fn go_memory_limit(memory: Quantity) -> String {
    format!("{}B", memory.whole_units() * 87 / 100)
}

fn amounts(given: Option<&Value>, path: &str) -> Result<Option<BTreeMap<String, ApiQuantity>>, RenderError> {
    let fields = match given {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(shape(path, "an object")),
    };
    let mut amounts = BTreeMap::new();
    for (name, value) in fields {
        let path = format!("{path}.{name}");
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(shape(&path, "a quantity")),
        };
        let amount = Quantity::parse(&text).map_err(|source| RenderError::SidecarQuantity {
            path: format!("{SIDECAR}{path}"),
            value: text,
            source,
        })?;
        amounts.insert(name.clone(), amount.to_api());
    }
    Ok(Some(amounts))
}

fn shape(path: &str, wanted: &'static str) -> RenderError {
    RenderError::SidecarShape { path: format!("{SIDECAR}{path}"), wanted }
}

fn quantities<const N: usize>(entries: [(&str, ApiQuantity); N]) -> BTreeMap<String, ApiQuantity> {
    entries.into_iter().map(|(name, amount)| (name.to_owned(), amount)).collect()
}

/// Where the sidecar's resources stand in a node.
const SIDECAR: &str = "spec.sidecar.resources";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sidecar(resources: &Value) -> Result<Option<Value>, RenderError> {
        let spec = serde_json::from_value(json!({"sidecar": {"resources": resources}})).expect("a spec");
        let rendered = of_sidecar(&spec)?;
        Ok(rendered.map(|r| serde_json::to_value(r).expect("resources are JSON")))
    }

    #[test]
    fn numbers_and_texts_become_canonical_quantities() {
        assert_eq!(
            sidecar(
                &json!({"requests": {"cpu": 2, "memory": "0.5Gi"}, "limits": {"cpu": 0.5, "x/y": "1024Mi"}})
            ),
            Ok(Some(json!({
                "requests": {"cpu": "2", "memory": "512Mi"},
                "limits": {"cpu": "500m", "x/y": "1Gi"},
            })))
        );
        assert_eq!(
            sidecar(&json!({"claims": [{"name": "gpu"}]})),
            Ok(Some(json!({"claims": [{"name": "gpu"}]})))
        );
        assert_eq!(sidecar(&json!(null)), Ok(None));
    }

    #[test]
    fn refusals_name_the_place() {
        for (given, message) in [
            (json!([]), "spec.sidecar.resources is not an object"),
            (json!({"limits": 3}), "spec.sidecar.resources.limits is not an object"),
            (json!({"limits": {"cpu": true}}), "spec.sidecar.resources.limits.cpu is not a quantity"),
            (json!({"claims": {}}), "spec.sidecar.resources.claims is not a list of claims"),
            (
                json!({"requests": {"cpu": "two"}}),
                "spec.sidecar.resources.requests.cpu is \"two\", which is no quantity: it does not start with a number",
            ),
        ] {
            assert_eq!(sidecar(&given).map_err(|e| e.to_string()), Err(message.to_owned()));
        }
    }

    #[test]
    fn the_memory_limit_of_go_is_rounded_down() {
        for (memory, limit) in [("2Gi", "1868310773B"), ("3500M", "3045000000B"), ("1", "0B")] {
            assert_eq!(go_memory_limit(Quantity::parse(memory).expect("a quantity")), limit, "{memory}");
        }
    }
}
