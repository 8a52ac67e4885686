"""What tests share: brokers, stores, processes and patience."""
