//! What the environment says: the standard variables of OpenTelemetry
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use std::time::Duration;

use opentelemetry_http::Request;
use opentelemetry_otlp::Protocol;
use opentelemetry_sdk::trace::Sampler;

/// How long one request to the collector may take.
const TIMEOUT: Duration = Duration::from_secs(10);

const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
const PROTOCOLS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];
const TIMEOUTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
];
const HEADERS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_HEADERS",
];
const COMPRESSIONS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
];
const CERTIFICATES: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
];
const BATCH: [&str; 3] = [
    SCHEDULE_DELAY,
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
];
const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const SCHEDULE_DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";
const CAPTURE: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";

/// Where spans go, and which.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The URL that batches are posted to.
    pub(crate) endpoint: String,
    pub(crate) protocol: Protocol,
    pub(crate) timeout: Duration,
    pub(crate) sampler: Sampler,
    /// Whether what models and persons write is exported.
    pub(crate) content: bool,
    /// Whether the environment says how long spans may wait for a batch.
    pub(crate) has_delay: bool,
}

/// What the environment says.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// None when no traces are wanted, or can be exported.
    pub(crate) settings: Option<Settings>,
    /// What is wrong with it; each names its variable, and never a value that may be a secret.
    pub(crate) problems: Vec<String>,
}

impl Settings {
    /// The endpoint without what may be a secret.
    pub(crate) fn shown(&self) -> String {
        let uri = Request::get(&self.endpoint).body(());
        let Ok(request) = uri else {
            return String::new();
        };
        let uri = request.uri();
        let port = uri.port_u16().map(|port| format!(":{port}"));
        format!(
            "{}://{}{}{}",
            uri.scheme_str().unwrap_or_default(),
            uri.host().unwrap_or_default(),
            port.unwrap_or_default(),
            uri.path()
        )
    }
}

/// Reads the variables; one that is empty is none.
pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Reading {
    let mut reader = Reader {
        variable,
        problems: Vec::new(),
    };
    let settings = reader.settings();
    Reading {
        settings,
        problems: reader.problems,
    }
}

struct Reader<F> {
    variable: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn settings(&mut self) -> Option<Settings> {
        let (name, endpoint) = self.first(&ENDPOINTS)?;
        if self.is_disabled() || !self.is_otlp() {
            return None;
        }
        let endpoint = self.endpoint(name, endpoint)?;
        let protocol = self.protocol()?;
        self.check_headers();
        self.check_unsupported();
        for name in BATCH {
            self.number(name);
        }
        Some(Settings {
            endpoint,
            protocol,
            timeout: self.timeout(),
            sampler: self.sampler(),
            content: self.content(),
            has_delay: (self.variable)(SCHEDULE_DELAY).is_some(),
        })
    }

    fn first(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names
            .iter()
            .find_map(|name| Some((*name, (self.variable)(name)?)))
    }

    fn problem(&mut self, name: &str, what: impl std::fmt::Display) {
        self.problems.push(format!("{name}: {what}"));
    }

    fn is_disabled(&mut self) -> bool {
        match (self.variable)(DISABLED) {
            Some(value) if value.eq_ignore_ascii_case("true") => true,
            Some(value) if !value.eq_ignore_ascii_case("false") => {
                self.problem(
                    DISABLED,
                    format!("`{value}` is taken for false; accepted are true, false"),
                );
                false
            }
            _ => false,
        }
    }

    fn is_otlp(&mut self) -> bool {
        let Some(value) = (self.variable)(EXPORTER) else {
            return true;
        };
        let named = |exporter| value.split(',').any(|named| named.trim() == exporter);
        if !named("otlp") && !named("none") {
            self.problem(
                EXPORTER,
                format!("`{value}` is not known, no traces are exported; accepted are otlp, none"),
            );
        }
        named("otlp")
    }

    fn endpoint(&mut self, name: &str, value: String) -> Option<String> {
        let url = if name == ENDPOINTS[0] {
            value
        } else {
            format!("{}/v1/traces", value.trim_end_matches('/'))
        };
        let request = Request::get(&url).body(());
        let scheme = request.as_ref().ok().and_then(|it| it.uri().scheme_str());
        if matches!(scheme, Some("http" | "https")) {
            return Some(url);
        }
        self.problem(
            name,
            "no URL of a collector, no traces are exported; accepted is one as http://127.0.0.1:4318",
        );
        None
    }

    fn protocol(&mut self) -> Option<Protocol> {
        match self.first(&PROTOCOLS) {
            None => Some(Protocol::HttpBinary),
            Some((_, value)) if value == "http/protobuf" => Some(Protocol::HttpBinary),
            Some((_, value)) if value == "http/json" => Some(Protocol::HttpJson),
            Some((name, value)) => {
                self.problem(
                    name,
                    format!(
                        "`{value}` is not spoken, no traces are exported; accepted are http/protobuf, http/json, as a rule on port 4318"
                    ),
                );
                None
            }
        }
    }

    fn timeout(&mut self) -> Duration {
        let first = TIMEOUTS
            .into_iter()
            .find(|name| (self.variable)(name).is_some());
        first
            .and_then(|name| self.number(name))
            .map_or(TIMEOUT, Duration::from_millis)
    }

    /// A whole number from 1.
    fn number(&mut self, name: &str) -> Option<u64> {
        let value = (self.variable)(name)?;
        let number = value.parse().ok().filter(|number| *number > 0);
        if number.is_none() {
            self.problem(
                name,
                format!("`{value}` is passed over; accepted is a whole number from 1"),
            );
        }
        number
    }

    /// The exporter reads them itself, and passes over what it does not understand.
    fn check_headers(&mut self) {
        let Some((name, value)) = self.first(&HEADERS) else {
            return;
        };
        let is_pair = |pair: &str| {
            pair.split_once('=')
                .is_some_and(|(key, _)| !key.trim().is_empty())
        };
        if !value.split_terminator(',').all(is_pair) {
            self.problem(
                name,
                "a part is passed over; accepted is key=value, several separated by commas",
            );
        }
    }

    fn check_unsupported(&mut self) {
        if let Some((name, value)) = self.first(&COMPRESSIONS)
            && value != "none"
        {
            self.problem(name, format!("`{value}` is passed over; accepted is none"));
        }
        if let Some((name, _)) = self.first(&CERTIFICATES) {
            self.problem(
                name,
                "is passed over: SSL_CERT_FILE names the authorities to trust",
            );
        }
    }

    fn sampler(&mut self) -> Sampler {
        let parent_based = |root: Sampler| Sampler::ParentBased(Box::new(root));
        let name = (self.variable)(SAMPLER);
        match name.as_deref() {
            None | Some("parentbased_always_on") => parent_based(Sampler::AlwaysOn),
            Some("parentbased_always_off") => parent_based(Sampler::AlwaysOff),
            Some("parentbased_traceidratio") => parent_based(self.ratio()),
            Some("always_on") => Sampler::AlwaysOn,
            Some("always_off") => Sampler::AlwaysOff,
            Some("traceidratio") => self.ratio(),
            Some(other) => {
                self.problem(
                    SAMPLER,
                    format!(
                        "`{other}` is taken for parentbased_always_on; accepted are always_on, always_off, traceidratio, each also with parentbased_ before it"
                    ),
                );
                parent_based(Sampler::AlwaysOn)
            }
        }
    }

    fn ratio(&mut self) -> Sampler {
        let value = (self.variable)(SAMPLER_ARG);
        let ratio = value.as_ref().map_or(Some(1.0), |value| value.parse().ok());
        let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
        if ratio.is_none() {
            let value = value.unwrap_or_default();
            self.problem(
                SAMPLER_ARG,
                format!("`{value}` is taken for 1; accepted is a number from 0 to 1"),
            );
        }
        Sampler::TraceIdRatioBased(ratio.unwrap_or(1.0))
    }

    fn content(&mut self) -> bool {
        let value = (self.variable)(CAPTURE).unwrap_or_default();
        match value.to_ascii_lowercase().as_str() {
            "true" | "span_only" | "span_and_event" => true,
            "" | "false" | "no_content" | "event_only" => false,
            _ => {
                self.problem(
                    CAPTURE,
                    format!("`{value}` is taken for false; accepted are true, false"),
                );
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    fn of(variables: &[(&str, &str)]) -> Reading {
        read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn with(name: &str, value: &str) -> Reading {
        of(&[TO, (name, value)])
    }

    #[test]
    fn nothing_is_wanted_without_an_endpoint_or_when_it_is_switched_off() {
        let off = [
            of(&[]),
            of(&[(PROTOCOLS[1], "grpc")]),
            with(DISABLED, "TRUE"),
            with(EXPORTER, "none"),
        ];
        for reading in off {
            assert!(reading.settings.is_none() && reading.problems.is_empty());
        }
    }

    #[test]
    fn an_endpoint_alone_is_enough() {
        let reading = of(&[TO]);
        assert_eq!(reading.problems, [""; 0]);
        let settings = reading.settings.unwrap();
        assert_eq!(settings.endpoint, "http://127.0.0.1:4318/v1/traces");
        assert_eq!(settings.protocol, Protocol::HttpBinary);
        assert_eq!(settings.timeout, TIMEOUT);
        assert!(!settings.content && !settings.has_delay);
    }

    #[test]
    fn the_variables_of_traces_come_first_and_their_url_is_taken_as_it_is() {
        let settings = of(&[
            TO,
            (
                ENDPOINTS[0],
                "https://key:secret@host.example/otlp?token=secret",
            ),
            (PROTOCOLS[0], "http/json"),
            (PROTOCOLS[1], "grpc"),
            (TIMEOUTS[0], "250"),
            (CAPTURE, "true"),
        ]);
        assert_eq!(settings.problems, [""; 0]);
        let settings = settings.settings.unwrap();
        assert_eq!(
            settings.endpoint,
            "https://key:secret@host.example/otlp?token=secret"
        );
        assert_eq!(settings.shown(), "https://host.example/otlp");
        assert_eq!(settings.protocol, Protocol::HttpJson);
        assert_eq!(settings.timeout, Duration::from_millis(250));
        assert!(settings.content);
    }

    #[test]
    fn every_mistake_names_its_variable() {
        let harmless = [
            (DISABLED, "yes"),
            (TIMEOUTS[1], "10s"),
            (HEADERS[1], "a=b,secret"),
            (COMPRESSIONS[1], "gzip"),
            (CERTIFICATES[1], "/ca.pem"),
            (BATCH[1], "0"),
            (SAMPLER, "xray"),
            (CAPTURE, "maybe"),
        ];
        let fatal = [
            (EXPORTER, "zipkin"),
            (ENDPOINTS[0], "collector:4318"),
            (PROTOCOLS[1], "grpc"),
        ];
        for (name, value) in harmless.into_iter().chain(fatal) {
            let reading = with(name, value);
            assert_eq!(reading.problems.len(), 1, "{name}: {:?}", reading.problems);
            let problem = &reading.problems[0];
            assert!(problem.starts_with(&format!("{name}: ")), "{problem}");
            assert!(!problem.contains("secret"), "{problem}");
            let goes_on = harmless.iter().any(|(harmless, _)| *harmless == name);
            assert_eq!(reading.settings.is_some(), goes_on, "{name}");
        }
        let ratio = of(&[TO, (SAMPLER, "traceidratio"), (SAMPLER_ARG, "half")]);
        assert!(ratio.problems[0].starts_with(SAMPLER_ARG));
    }
}
