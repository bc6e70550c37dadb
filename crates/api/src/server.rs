//! The HTTP server.

use std::future::Future;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::{App as Actix, HttpServer, web};

use crate::app::App;
use crate::body::BodyLimit;
use crate::tls::Tls;
use crate::{observe, routes};

/// How the server runs.
#[derive(Clone)]
pub struct Server {
    /// Threads that answer.
    pub workers: usize,
    /// Connections of one worker at most; more wait in the system's queue.
    pub connections_max: usize,
    /// How long running requests may take after the end was asked for.
    pub drain: Duration,
    /// `None` = no encryption.
    pub tls: Option<Tls>,
}

impl Default for Server {
    fn default() -> Self {
        Self { workers: 2, connections_max: 4_096, drain: Duration::from_secs(5), tls: None }
    }
}

/// Serves `app` on `listener` until `shutdown`; running requests are answered first.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    app: App,
    listener: TcpListener,
    server: Server,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let limit = BodyLimit::of(app.engine.kinds());
    let app = web::Data::new(app);
    let watched = app.clone();
    let hub = tokio::spawn(async move {
        watched.hub.run(&watched.engine, watched.head_at_start).await;
    });
    let http = HttpServer::new(move || {
        Actix::new()
            .wrap(actix_web::middleware::from_fn(observe::around))
            .app_data(app.clone())
            .app_data(limit)
            .app_data(web::PayloadConfig::new(limit.0))
            .configure(routes::configure)
    })
    .workers(server.workers)
    .max_connections(server.connections_max)
    .client_request_timeout(Duration::from_secs(10))
    .keep_alive(Duration::from_secs(75))
    .shutdown_timeout(server.drain.as_secs())
    .disable_signals()
    .tcp_nodelay(true);
    let http = match server.tls {
        Some(tls) => http.listen_rustls_0_23(listener, tls.config)?,
        None => http.listen(listener)?,
    };
    let http = http.run();
    let handle = http.handle();
    let stopper = tokio::spawn(async move {
        shutdown.await;
        handle.stop(true).await;
    });
    let ended = http.await;
    stopper.abort();
    hub.abort();
    ended
}
