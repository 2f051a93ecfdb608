//! One connection: two directions, and what goes wrong between them.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::time::{Clock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::exchange::Overheard;
use super::{Behaviour, Shared, reset};

/// How the direction to the client ended.
enum End {
    /// The authority had said everything, and all of it passed.
    Complete,
    Close,
    HalfClose,
    Reset,
}

pub(super) async fn run(
    mut client: TcpStream,
    mut authority: TcpStream,
    source: IpAddr,
    shared: &Shared,
    behaviour: Behaviour,
    overheard: Option<Overheard>,
) {
    // Small pieces must not wait for each other, else delays would be the kernel's.
    let _ = client.set_nodelay(true);
    let _ = authority.set_nodelay(true);
    let sent = AtomicU64::new(0);
    let (client_reads, client_writes) = client.split();
    let (authority_reads, authority_writes) = authority.split();
    let (end, client_gave_up) = {
        let heard = overheard.as_ref();
        let mut upwards = pin!(to_authority(
            client_reads,
            authority_writes,
            source,
            shared,
            &sent,
            heard
        ));
        let mut downwards = pin!(to_client(
            authority_reads,
            client_writes,
            source,
            shared,
            &sent,
            behaviour,
            heard
        ));
        let (mut client_is_done, mut client_gave_up) = (false, false);
        let end = loop {
            tokio::select! {
                () = &mut upwards, if !client_is_done => {
                    client_is_done = true;
                    client_gave_up = heard.is_some_and(|heard| !heard.has_reply());
                }
                end = &mut downwards => break end,
            }
        };
        if matches!(end, End::HalfClose) && !client_is_done {
            upwards.await;
        }
        (end, client_gave_up)
    };
    if let Some(overheard) = overheard {
        shared.keep(overheard.end(matches!(end, End::Complete) && !client_gave_up));
    }
    if matches!(end, End::Reset) {
        reset(client);
    }
}

async fn to_authority(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    source: IpAddr,
    shared: &Shared,
    sent: &AtomicU64,
    overheard: Option<&Overheard>,
) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        shared.running(source).await;
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
        if let Some(overheard) = overheard {
            overheard.request(&piece[..length]);
        }
        sent.fetch_add(length as u64, Ordering::SeqCst);
        shared.count(|statistics| statistics.bytes_to_authority += length as u64);
    }
    let _ = to.shutdown().await;
}

async fn to_client(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    source: IpAddr,
    shared: &Shared,
    sent: &AtomicU64,
    behaviour: Behaviour,
    overheard: Option<&Overheard>,
) -> End {
    let mut piece = vec![0; 16 * 1024];
    let mut passed = 0_u64;
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else {
            let _ = to.shutdown().await;
            return if passed > 0 { End::Complete } else { End::Close };
        };
        shared.running(source).await;
        if let Some(overheard) = overheard {
            overheard.reply(&piece[..length]);
        }
        let is_complete = |request_bytes| sent.load(Ordering::SeqCst) >= request_bytes;
        let lost = match behaviour {
            Behaviour::DropReply { request_bytes } if is_complete(request_bytes) => Some(End::Close),
            Behaviour::HalfClose { request_bytes } if is_complete(request_bytes) => Some(End::HalfClose),
            Behaviour::Reset { request_bytes } if is_complete(request_bytes) => Some(End::Reset),
            _ => None,
        };
        if let Some(end) = lost {
            shared.count(|statistics| statistics.replies_lost += 1);
            if matches!(end, End::HalfClose) {
                let _ = to.shutdown().await;
            }
            return end;
        }
        if let Behaviour::Delay(delay) = behaviour {
            SystemClock.sleep(delay).await;
        }
        let allowed = match behaviour {
            Behaviour::CutReply { reply_bytes } => {
                usize::try_from(reply_bytes - passed).map_or(length, |left| left.min(length))
            }
            _ => length,
        };
        if to.write_all(&piece[..allowed]).await.is_err() {
            return End::Close;
        }
        passed += allowed as u64;
        shared.count(|statistics| {
            statistics.bytes_to_client += allowed as u64;
            statistics.replies_lost += u64::from(allowed < length);
        });
        if allowed < length {
            let _ = to.shutdown().await;
            return End::Close;
        }
    }
}
