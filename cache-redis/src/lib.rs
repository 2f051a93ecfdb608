//! The token cache's records in Redis or Valkey, shared by the processes of many machines.
