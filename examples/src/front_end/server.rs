//! Serving: TLS, limits on connections, and an orderly end.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::options::TlsOptions;

/// How long a client may take to send the head of a request. One that sends a byte a minute would hold its connection for ever.
const HEAD: Duration = Duration::from_secs(10);

/// How long requests under way may take when the program is to end.
const LAST_REQUESTS: Duration = Duration::from_secs(15);

/// Serves `router` at `address` until `stop` is ready, and then until the requests under way are answered.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    router: Router,
    address: SocketAddr,
    tls: &TlsOptions,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let config = match (&tls.tls_certificate, &tls.tls_key) {
        (Some(certificate), Some(key)) => Some(tls_config(certificate, key)?),
        // Whoever could reach it elsewhere would do so in clear.
        _ if !address.ip().is_loopback() => return Err(ServeError::InClear(address)),
        _ => None,
    };
    let listening = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(listening)?;
    listener.set_nonblocking(true).map_err(listening)?;
    let handle = Handle::new();
    let stopping = handle.clone();
    tokio::spawn(async move {
        stop.await;
        stopping.graceful_shutdown(Some(LAST_REQUESTS));
    });
    tracing::info!(%address, tls = config.is_some(), "listening");
    let service = router.into_make_service();
    // HTTP/1.1 and nothing else: to find out which version a client speaks, it would wait for the first bytes without a limit.
    let served = match config {
        Some(config) => {
            let mut server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(config))
                .map_err(listening)?
                .handle(handle)
                .http1_only();
            let http = server.http_builder();
            http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
            server.serve(service).await
        }
        None => {
            let mut server = axum_server::from_tcp(listener)
                .map_err(listening)?
                .handle(handle)
                .http1_only();
            let http = server.http_builder();
            http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
            server.serve(service).await
        }
    };
    served.map_err(ServeError::Serve)
}

fn tls_config(certificate: &PathBuf, key: &PathBuf) -> Result<Arc<ServerConfig>, ServeError> {
    let unreadable = |path: &PathBuf| {
        let path = path.clone();
        move |source| ServeError::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(ServeError::Tls)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Without TLS, for all the network.
    #[error(
        "--listen {0} is no loopback address; give --tls-certificate and --tls-key, or listen at 127.0.0.1 behind the proxy"
    )]
    InClear(SocketAddr),
    /// The address.
    #[error("cannot listen at {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate or its key.
    #[error("{} holds no usable PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The two of them.
    #[error("the certificate and the key of --tls-certificate and --tls-key cannot be used together")]
    Tls(#[source] rustls::Error),
    /// The end, when it was not asked for.
    #[error("the server ended")]
    Serve(#[source] std::io::Error),
}
