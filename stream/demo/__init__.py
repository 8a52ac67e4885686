"""Everything on one machine: embedded broker and store, worker, server and simulator."""
