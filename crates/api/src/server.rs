//! The HTTP server.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::error::DispatchError;
use actix_web::{App as Actix, Error, web};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::app_state::AppState;
use crate::body::BodyLimit;
use crate::connection_stream::Stream;
use crate::connections::Connections;
use crate::tls::Tls;
use crate::{middleware, openapi, routes};

/// Time limit for the head of a request, and of an idle connection.
const HEAD_MAX: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Settings of the server.
#[derive(Clone)]
pub struct Server {
    /// Worker threads.
    pub workers: usize,
    /// Maximum number of open connections. Another one closes the connection that has been idle for the longest time.
    pub connections_max: usize,
    /// Time limit of running requests after shutdown was requested.
    pub drain: Duration,
    /// `None` = no encryption.
    pub tls: Option<Tls>,
}

impl Server {
    /// See [`connections_max`](Self::connections_max).
    pub const CONNECTIONS_MAX: usize = 8_192;
}

impl Default for Server {
    fn default() -> Self {
        let (connections_max, drain) = (Self::CONNECTIONS_MAX, Duration::from_secs(5));
        Self { workers: 2, connections_max, drain, tls: None }
    }
}

/// Serves `app` on `listener` until `shutdown`; completes running requests first.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve(
    app: AppState,
    listener: TcpListener,
    server: Server,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let limit = BodyLimit::of(app.engine.kinds());
    let app = web::Data::new(app);
    let watched = app.clone();
    let hub = tokio::spawn(async move {
        watched.hub.run(&watched.engine, watched.head_at_start).await;
    });
    let tls = server.tls.map(|Tls { mut config, .. }| {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    });
    let connections = Arc::new(Connections::new(server.connections_max));
    let builder = actix_server::Server::build()
        .workers(server.workers)
        // `Connections` limits them: with a limit here, a new connection would wait until another ends.
        .max_concurrent_connections(usize::MAX >> 1)
        .shutdown_timeout(server.drain.as_secs())
        .disable_signals();
    let ends = builder.graceful_shutdown_signal();
    let http = builder.listen("stateward", listener, move || {
        let actix = Actix::new()
            .wrap(actix_web::middleware::from_fn(middleware::with_request_context))
            .app_data(app.clone())
            .app_data(limit)
            .configure(openapi::configure)
            .configure(routes::configure);
        let actix = actix.into_factory().map_err(|error: Error| error.error_response());
        let ends = ends.clone();
        let http = HttpService::build()
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_MAX)
            .graceful_shutdown_signal(move || {
                let ends = ends.clone();
                async move { ends.notified().await }
            })
            .on_connect_ext(|stream: &Stream, data| {
                data.insert(Arc::clone(stream.connection()));
            })
            .finish(map_config(actix, |()| AppConfig::default()));
        let (connections, tls) = (Arc::clone(&connections), tls.clone());
        fn_service(move |io: TcpStream| accept(io, Arc::clone(&connections), tls.clone()))
            .and_then(http)
    })?;
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

type Accepted = (Stream, Protocol, Option<std::net::SocketAddr>);

/// Accepts a connection; refuses it if all others are busy.
async fn accept(
    io: TcpStream,
    connections: Arc<Connections>,
    tls: Option<TlsAcceptor>,
) -> Result<Accepted, DispatchError> {
    let full = || DispatchError::Io(io::Error::other("all connections are busy"));
    let connection = connections.open().ok_or_else(full)?;
    // Responses are small, and clients wait for each.
    io.set_nodelay(true).map_err(DispatchError::Io)?;
    let peer = io.peer_addr().ok();
    let stream = Stream::open(io, connection, tls).await.map_err(DispatchError::Io)?;
    let protocol = if stream.is_http2() { Protocol::Http2 } else { Protocol::Http1 };
    Ok((stream, protocol, peer))
}
