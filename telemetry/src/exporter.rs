//! From a span that has ended to a batch on its way: the only module that builds what OpenTelemetry exports.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use lru::LruCache;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingDecision, ShouldSample as _, SpanData,
    SpanEvents, SpanExporter as _, SpanLinks, SpanProcessor,
};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{ErrorBody, RunId};

use crate::post::Post;
use crate::settings::Settings;
use crate::{Process, names};

/// How long a span waits for others, unless the environment says something else. Less than the usual 5 s: a process that is
/// killed loses what waits.
const DELAY: Duration = Duration::from_secs(1);

/// So many spans are remembered as told.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Takes spans that have ended.
#[derive(Debug)]
pub(crate) struct Exporter {
    processor: Box<dyn SpanProcessor>,
    scope: InstrumentationScope,
    sampler: Sampler,
    /// Whether what models and persons write is exported.
    content: bool,
    /// Derived spans that this process has told: a cause that is delivered again tells them again.
    told: Mutex<LruCache<u64, ()>>,
}

/// A span that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    /// Its trace and its own id.
    pub(crate) context: TraceParent,
    pub(crate) parent: Option<u64>,
    pub(crate) began: SystemTime,
    pub(crate) ended: SystemTime,
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) trouble: Option<Trouble>,
}

/// Why what a span is about did not succeed.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
}

impl Trouble {
    /// Trouble that its code says all about.
    pub(crate) fn of_kind(code: &'static str) -> Self {
        Self {
            code: Cow::Borrowed(code),
            message: String::new(),
        }
    }
}

impl From<&ErrorBody> for Trouble {
    fn from(error: &ErrorBody) -> Self {
        Self {
            code: Cow::Owned(error.code.clone()),
            message: error.message.clone(),
        }
    }
}

impl Exporter {
    /// Starts the thread that sends batches.
    pub(crate) fn start(
        settings: &Settings,
        process: &Process<'_>,
    ) -> Result<Self, ExporterBuildError> {
        let mut sender = SpanExporter::builder()
            .with_http()
            .with_http_client(Post::new(settings.timeout, settings.shown()))
            .with_endpoint(&settings.endpoint)
            .with_protocol(settings.protocol)
            .with_timeout(settings.timeout)
            .build()?;
        sender.set_resource(&resource(process));
        let mut batches = BatchConfigBuilder::default();
        if !settings.has_delay {
            batches = batches.with_scheduled_delay(DELAY);
        }
        let processor = BatchSpanProcessor::new(sender, batches.build());
        Ok(Self::over(
            Box::new(processor),
            settings.sampler.clone(),
            settings.content,
        ))
    }

    pub(crate) fn over(processor: Box<dyn SpanProcessor>, sampler: Sampler, content: bool) -> Self {
        Self {
            processor,
            scope: InstrumentationScope::builder("swarm")
                .with_version(VERSION)
                .build(),
            sampler,
            content,
            told: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// Whether spans of this run are exported. All processes decide alike: by the submitter's decision, or by the trace's id.
    pub(crate) fn wants(&self, trace: TraceParent, run: RunId) -> bool {
        // A ratio looks at the lower half of an id, which in a UUID begins with two bits that are always the same.
        let (submitter, id) = if trace.is_own_of(run) {
            (None, trace.trace().rotate_left(8))
        } else {
            let parent = Context::new().with_remote_span_context(context(trace, true));
            (Some(parent), trace.trace())
        };
        let sampled = self.sampler.should_sample(
            submitter.as_ref(),
            TraceId::from(id),
            "",
            &SpanKind::Internal,
            &[],
            &[],
        );
        sampled.decision == SamplingDecision::RecordAndSample
    }

    /// The same, of a span whose id is derived: only the first time.
    pub(crate) fn wants_once(&self, span: TraceParent, run: RunId) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        self.wants(span, run) && told.put(span.span(), ()).is_none()
    }

    /// What models and persons write, when it is exported.
    pub(crate) fn content(
        &self,
        name: &'static str,
        text: impl FnOnce() -> Option<String>,
    ) -> Option<KeyValue> {
        let text = if self.content { text() } else { None };
        text.map(|text| KeyValue::new(name, text))
    }

    pub(crate) fn tell(&self, span: Ended) {
        let Ended {
            name,
            kind,
            context: own,
            parent,
            began,
            ended,
            mut attributes,
            trouble,
        } = span;
        let status = match trouble {
            None => Status::Unset,
            Some(trouble) => {
                attributes.push(KeyValue::new(names::ERROR, trouble.code.into_owned()));
                // It may quote what somebody wrote.
                Status::error(if self.content {
                    trouble.message
                } else {
                    String::new()
                })
            }
        };
        self.processor.on_end(SpanData {
            span_context: context(own, false),
            parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from),
            parent_span_is_remote: parent.is_some(),
            span_kind: kind,
            name: Cow::Owned(name),
            start_time: began.min(ended),
            end_time: ended,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Sends what is left, as far as that is possible in time.
    pub(crate) fn stop(&self, patience: Duration) {
        if let Err(error) = self.processor.shutdown_with_timeout(patience) {
            tracing::debug!(%error, "the last traces were not exported");
        }
    }
}

fn context(of: TraceParent, is_remote: bool) -> SpanContext {
    // Whether it is exported has been decided before; the flag is that of whoever began the trace.
    let flags = if is_remote && !of.is_sampled() {
        TraceFlags::default()
    } else {
        TraceFlags::SAMPLED
    };
    SpanContext::new(
        TraceId::from(of.trace()),
        SpanId::from(of.span()),
        flags,
        is_remote,
        TraceState::NONE,
    )
}

/// What the process is. The environment (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) has the last word.
fn resource(process: &Process<'_>) -> Resource {
    let own = [
        KeyValue::new(names::SERVICE_NAME, format!("swarm-{}", process.role)),
        KeyValue::new(names::SERVICE_VERSION, VERSION),
        KeyValue::new(names::SERVICE_INSTANCE, process.instance.to_string()),
        KeyValue::new(names::HOST, process.host.to_owned()),
    ];
    let resource = Resource::builder_empty()
        .with_attributes(own)
        .with_detectors(&[
            Box::new(TelemetryResourceDetector),
            Box::new(EnvResourceDetector::new()),
        ]);
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => resource.with_service_name(name).build(),
        _ => resource.build(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use opentelemetry_otlp::Protocol;
    use swarm_protocol::InstanceId;

    use super::*;

    fn ended(run: RunId) -> Ended {
        Ended {
            name: "invoke_workflow".into(),
            kind: SpanKind::Internal,
            context: TraceParent::of_run(run, None),
            parent: None,
            began: SystemTime::UNIX_EPOCH,
            ended: SystemTime::now(),
            attributes: vec![],
            trouble: None,
        }
    }

    #[test]
    fn what_is_told_is_posted_at_the_latest_at_the_stop() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = Settings {
            endpoint: format!("http://{}/v1/traces", listener.local_addr().unwrap()),
            protocol: Protocol::HttpBinary,
            timeout: Duration::from_secs(10),
            sampler: Sampler::AlwaysOn,
            content: false,
            has_delay: false,
        };
        let collector = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            let mut piece = [0; 4096];
            while !request.contains("invoke_workflow") {
                let read = stream.read(&mut piece).unwrap();
                request.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
            request
        });
        let instance: InstanceId = "i7".parse().unwrap();
        let process = Process {
            role: "coordinator",
            instance: &instance,
            host: "h",
        };
        let exporter = Exporter::start(&settings, &process).unwrap();
        exporter.tell(ended(RunId::random()));
        exporter.stop(Duration::from_secs(10));
        let request = collector.join().unwrap();
        for part in [
            "POST /v1/traces ",
            "application/x-protobuf",
            "swarm-coordinator",
            "i7",
        ] {
            assert!(request.contains(part), "{part}: {request}");
        }
    }

    #[test]
    fn runs_are_sampled_by_their_trace_and_all_processes_decide_alike() {
        let exporters = [1, 2].map(|_process| {
            let (collected, _) = crate::test_support::Collected::new(false);
            Exporter::over(
                Box::new(collected),
                Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(0.5))),
                false,
            )
        });
        let wanted = (1..=1000_u128).filter(|number| {
            let run = RunId::from_message_id(&number.to_string());
            let trace = TraceParent::of_run(run, None);
            let [here, there] = exporters.each_ref().map(|it| it.wants(trace, run));
            assert_eq!(here, there);
            here
        });
        let wanted = wanted.count();
        assert!((400..600).contains(&wanted), "{wanted} of 1000");
    }
}
