//! An echo server: the cost of HTTP itself, for benchmarks.

use std::net::TcpListener;

use actix_web::{App, HttpResponse, HttpServer, web};

/// Responds to every POST to `/` on `listener` with its body, in `workers` threads, until the process ends.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve_echo(listener: TcpListener, workers: usize) -> std::io::Result<()> {
    let back = |body: web::Bytes| async { HttpResponse::Ok().body(body) };
    let server = HttpServer::new(move || App::new().route("/", web::post().to(back)))
        .workers(workers)
        .tcp_nodelay(true)
        .listen(listener)?
        .run();
    server.await
}
