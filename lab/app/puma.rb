# frozen_string_literal: true

threads_count = Integer(ENV.fetch("RAILS_MAX_THREADS"))
threads threads_count, threads_count
workers Integer(ENV.fetch("WEB_CONCURRENCY", "0"))
bind ENV.fetch("LAB_BIND")
environment "production"
preload_app! false
