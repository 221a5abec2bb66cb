//! What can be asked.

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    middleware,
    response::IntoResponse,
    routing::get,
};

use crate::{
    Served,
    guard::{self, BODY_BYTES_MAX},
    health::{healthz, readyz},
    problem::Problem,
};

pub(crate) fn router(served: Served) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .nest("/v1", v1())
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(guard::guard))
        .with_state(served)
}

/// The API on runs and workflows.
fn v1() -> Router<Served> {
    Router::new().fallback(not_found).method_not_allowed_fallback(not_allowed)
}

async fn metrics(State(served): State<Served>) -> impl IntoResponse {
    (served.measure)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], served.metrics.text())
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this path")
}

async fn not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this can be asked with another method only")
}
