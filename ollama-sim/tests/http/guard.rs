//! Foreign names and pages.

use reqwest::{Method, header};

use crate::support::Sim;

async fn asked(sim: &Sim, method: Method, name: header::HeaderName, value: &str) -> (u16, String) {
    let url = format!("{}/api/tags", sim.api);
    let request = sim.client.request(method, url).header(name, value);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn foreign_names_and_pages_are_refused() {
    let sim = Sim::start(&[]).await;
    let refused = (403, String::new());
    let host = asked(&sim, Method::GET, header::HOST, "example.com").await;
    assert_eq!(host, refused);
    for method in [Method::GET, Method::OPTIONS] {
        let page = asked(&sim, method, header::ORIGIN, "http://example.com").await;
        assert_eq!(page, refused);
    }
    let own = asked(&sim, Method::GET, header::ORIGIN, "http://localhost:3000").await;
    assert_eq!(own.0, 200);
    let before = asked(
        &sim,
        Method::OPTIONS,
        header::ORIGIN,
        "http://localhost:3000",
    )
    .await;
    assert_eq!(before, (204, String::new()));
    let local = asked(&sim, Method::GET, header::HOST, "box.local:11434").await;
    assert_eq!(local.0, 200);
}
