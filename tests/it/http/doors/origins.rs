//! Pages of other origins.

use super::{ask, with};
use crate::http::{Reply, Server};
use irori::http::{HttpConfig, Origin};

fn from_origin(server: &Server, origin: &str) -> Reply {
    let request = server.agent.get(server.url("/models"));
    request.header("origin", origin).call().unwrap().into()
}

#[test]
fn pages_of_the_origins_that_were_named_may_read_answers() {
    let origins = |origins: &[&str]| {
        with(HttpConfig {
            cors_origins: origins
                .iter()
                .map(|origin| origin.parse().unwrap())
                .collect(),
            ..HttpConfig::default()
        })
    };
    let allowed = "access-control-allow-origin";
    let closed = Server::start();
    assert_eq!(
        from_origin(&closed, "https://app.example").header(allowed),
        ""
    );

    let server = origins(&["https://app.example", "http://localhost:3000"]);
    for origin in ["https://app.example", "http://localhost:3000"] {
        assert_eq!(from_origin(&server, origin).header(allowed), origin);
    }
    for other in ["https://app.example.evil", "http://app.example", "null"] {
        assert_eq!(from_origin(&server, other).header(allowed), "", "{other}");
    }
    // What a browser asks before it sends a key.
    let answer = ask(
        &server,
        "OPTIONS /predict HTTP/1.1\r\nhost: it\r\norigin: https://app.example\r\naccess-control-request-method: POST\r\n\
         access-control-request-headers: x-api-key, content-type\r\nconnection: close\r\n\r\n",
    );
    for header in [
        "access-control-allow-origin: https://app.example\r\n",
        "access-control-allow-headers: x-api-key, content-type\r\n",
        "access-control-allow-methods: GET,POST,PUT,DELETE\r\n",
    ] {
        assert!(answer.contains(header), "{header}{answer}");
    }
    assert!(!answer.contains("allow-credentials"), "{answer}");
    // A refusal can be read too.
    let refused = server.agent.get(server.url("/nowhere"));
    let refused = refused.header("origin", "https://app.example").call();
    assert_eq!(
        Reply::from(refused.unwrap()).header(allowed),
        "https://app.example"
    );

    let server = origins(&["https://app.example", "*"]);
    assert_eq!(
        from_origin(&server, "https://any.example").header(allowed),
        "*"
    );
}

#[test]
fn an_origin_is_a_scheme_and_a_host() {
    for good in ["*", "https://a.example", "http://[::1]:3000"] {
        assert!(good.parse::<Origin>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "a.example",
        "https://a.example/",
        "https://u@a.example",
        "ftp://a.example",
        "https://*.example\r\nx: y",
        "null",
    ] {
        assert!(bad.parse::<Origin>().is_err(), "{bad}");
    }
}
