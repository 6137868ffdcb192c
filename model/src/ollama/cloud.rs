//! What runs in Ollama's cloud. A local host passes prompts for such models on, so names alone must already be refused.

use url::Url;

/// Whether a host would take the name for a cloud model: `x:cloud`, `x:120b-cloud`, in any case.
///
/// This is the rule of the server. Only what follows the last `:` counts, and a `/` in there makes it no tag but the path
/// behind a registry's port; `my-cloud` without a tag is a local name.
pub fn is_cloud_model(name: &str) -> bool {
    let Some((_, tag)) = name.rsplit_once(':') else {
        return false;
    };
    let tag = tag.trim().to_ascii_lowercase();
    tag == "cloud" || (tag.ends_with("-cloud") && !tag.contains('/'))
}

/// Whether the URL leads to `ollama.com` or a host below it.
pub fn is_cloud_host(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let host = host.trim_end_matches('.');
    host == "ollama.com" || host.ends_with(".ollama.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in [
            "x:cloud",
            "x:CLOUD",
            "gpt-oss:120b-cloud",
            "gpt-oss:120b-Cloud",
            "r:5000/x:cloud",
            "x:cloud ",
            "x:7b:cloud",
        ] {
            assert!(is_cloud_model(name), "{name}");
        }
        for name in [
            "x",
            "my-cloud",
            "cloud",
            "x:7b",
            "x:cloudy",
            "x:-cloudy",
            "cloud:7b",
            "x:cloud:7b",
            "r:5000/my-cloud",
            "",
        ] {
            assert!(!is_cloud_model(name), "{name}");
        }
    }

    #[test]
    fn hosts() {
        let is_cloud = |url: &str| is_cloud_host(&Url::parse(url).unwrap());
        for url in [
            "https://ollama.com",
            "http://OLLAMA.com:11434/api",
            "http://api.ollama.com",
            "http://ollama.com./",
        ] {
            assert!(is_cloud(url), "{url}");
        }
        for url in [
            "http://127.0.0.1",
            "http://notollama.com",
            "http://ollama.com.example",
            "http://ollama:11434",
            "mailto:ollama.com",
        ] {
            assert!(!is_cloud(url), "{url}");
        }
    }
}
