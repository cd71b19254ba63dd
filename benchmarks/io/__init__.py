"""What it costs to reach the outside: Kafka to Kafka, rows into PostgreSQL, rows into files."""
