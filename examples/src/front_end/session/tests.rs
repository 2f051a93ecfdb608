use std::sync::Arc;

use cache_core::seal::{FixedKeySource, SecretKey};
use cache_core::store::{MemoryStore, PutOptions, Store};
use futures_util::TryStreamExt;

use super::*;

const LIMITS: SessionLimits = SessionLimits {
    idle: Duration::from_secs(60),
    absolute: Duration::from_secs(600),
};

async fn sessions(store: &Arc<MemoryStore>) -> Sessions {
    let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
    let records = SealedRecords::open(Arc::clone(store) as Arc<dyn Store>, key)
        .await
        .unwrap();
    Sessions::new(records, LIMITS)
}

async fn subject(sessions: &Sessions, id: &SessionId) -> Option<String> {
    Some(sessions.find(id).await.unwrap()?.user.subject)
}

#[tokio::test]
async fn a_sign_out_ends_all_sessions_of_one_user_at_all_replicas() {
    let store = Arc::new(MemoryStore::new());
    let (one, two) = (sessions(&store).await, sessions(&store).await);
    let (ada, bob) = (User::named("ada"), User::named("bob"));
    let first = one.begin(ada.clone(), false).await.unwrap();
    let second = two.begin(ada.clone(), false).await.unwrap();
    let others = two.begin(bob, false).await.unwrap();
    one.end(&first).await.unwrap();
    assert_eq!(subject(&two, &first).await, None);
    assert_eq!(subject(&one, &second).await.as_deref(), Some("ada"));
    one.end_all(&ada).await.unwrap();
    let third = one.begin(ada, false).await.unwrap();
    assert_eq!(
        subject(&two, &second).await,
        None,
        "a later sign-in brings no session back"
    );
    assert_eq!(subject(&two, &third).await.as_deref(), Some("ada"));
    assert_eq!(subject(&one, &others).await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn a_user_is_an_issuer_and_a_subject_there() {
    let (mut elsewhere, mut shifted) = (User::named("ada"), User::named("ada"));
    elsewhere.issuer = "https://other.example".to_owned();
    shifted.issuer = "https://id.example:3:".to_owned();
    let names = [User::named("ada"), elsewhere, shifted, User::named("3:ada")].map(|user| user.record_name());
    for (index, name) in names.iter().enumerate() {
        assert!(!names[..index].contains(name));
    }
}

#[tokio::test]
async fn whoever_can_write_to_the_store_can_end_sessions_and_nothing_else() {
    let store = Arc::new(MemoryStore::new());
    let sessions = sessions(&store).await;
    let ada = sessions.begin(User::named("ada"), false).await.unwrap();
    let bob = sessions.begin(User::named("bob"), false).await.unwrap();
    let keys = [name_of(&ada), name_of(&bob)].map(|name| sessions.records.key(&name));
    let [adas, bobs] = [&keys[0], &keys[1]];
    assert!(!adas.as_str().contains(ada.expose()));
    let payload = async |key| store.get(key).await.unwrap().unwrap().payload;

    // Bob's record at the place of Ada's: Bob's cookie would show what is Ada's, if records could be moved.
    let (own, others) = (payload(bobs).await, payload(adas).await);
    store.put(bobs, others, PutOptions::overwrite()).await.unwrap();
    assert_eq!(subject(&sessions, &bob).await, None);
    store
        .put(bobs, own.clone(), PutOptions::overwrite())
        .await
        .unwrap();
    assert_eq!(subject(&sessions, &bob).await.as_deref(), Some("bob"));
    let mut changed = own.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    store
        .put(bobs, changed.into(), PutOptions::overwrite())
        .await
        .unwrap();
    assert_eq!(subject(&sessions, &bob).await, None);

    // All records spoiled, those of the sign-ins too: nobody is signed in, and everybody can sign in again.
    let all: Vec<_> = store.scan("web-sessions/session/").try_collect().await.unwrap();
    assert_eq!(all.len(), 4);
    for (key, _) in all {
        store
            .put(&key, "spoiled".into(), PutOptions::overwrite())
            .await
            .unwrap();
    }
    assert_eq!(subject(&sessions, &ada).await, None);
    let again = sessions.begin(User::named("ada"), false).await.unwrap();
    assert_eq!(subject(&sessions, &again).await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn a_use_does_not_bring_an_ended_session_back() {
    let store = Arc::new(MemoryStore::new());
    let sessions = sessions(&store).await;
    let id = sessions.begin(User::named("ada"), false).await.unwrap();
    let name = name_of(&id);
    let found = sessions.records.read::<Session>(&name).await.unwrap().unwrap();
    // The request has read it, and is about to note that it was used.
    sessions.end(&id).await.unwrap();
    sessions.touch(&name, &found).await.unwrap();
    assert_eq!(subject(&sessions, &id).await, None);
}

#[tokio::test]
async fn many_sign_ins_of_one_user_at_once_are_one_sign_in() {
    let store = Arc::new(MemoryStore::new());
    let sessions = sessions(&store).await;
    let begin = || sessions.begin(User::named("ada"), false);
    let (one, two, three) = tokio::join!(begin(), begin(), begin());
    for id in [one, two, three] {
        assert!(subject(&sessions, &id.unwrap()).await.is_some());
    }
}
