# frozen_string_literal: true

# A hospital's scheduling service: controllers, routes and jobs are made from catalogue.json, so that the driver that
# sends the requests and the application that answers them cannot disagree. Sleeps stand for the database.
$stdout.sync = true
$stderr.sync = true

require "json"
require "logger"
require "rails"
require "action_controller/railtie"
require "active_job/railtie"
require_relative "lab"
require_relative "log_shapes"

class Hospital < Rails::Application
  config.root = __dir__
  config.load_defaults 6.1
  config.eager_load = true
  config.cache_classes = true
  config.consider_all_requests_local = false
  config.secret_key_base = "0" * 64
  config.hosts.clear
  config.active_job.queue_adapter = :async
  config.filter_parameters += %i[password token entries results content]
  config.paths["app/views"] = File.join(__dir__, "views")
  config.middleware.insert_before 0, Lab::Trace
  LogShapes.configure(config, Lab::CONFIG.fetch("log_style"))
end

Hospital.initialize!

# The database share of the one-line summary, as Active Record's own would give it.
module DatabaseShare
  def log_process_action(payload)
    super.tap { |said| said << format("ActiveRecord: %.1fms", payload[:db_runtime]) if payload[:db_runtime] }
  end
end
ActionController::Base.singleton_class.prepend(DatabaseShare)

class ApplicationController < ActionController::Base
  skip_forgery_protection

  private

  def append_info_to_payload(payload)
    super
    payload[:db_runtime] = @db_ms
    payload[:request_id] = request.request_id
    payload[:remote_ip] = request.remote_ip
  end

  def database(milliseconds)
    @db_ms = (@db_ms || 0.0) + milliseconds
    sleep(milliseconds / 1000.0)
  end

  def answer(spec)
    database(Lab.spread(spec.fetch("db"), 0.45))
    Lab.burn(Lab.spread(spec.fetch("cpu"), 0.3))
    Lab::Jobs.maybe_enqueue
    bad = Lab::Fault.apply(self, spec)
    Lab::Growth.after_request
    return if performed?

    present(spec, bad || Lab.rows(Lab.spread(spec.fetch("kb", 1), 0.3)))
  end

  def present(spec, rows)
    case spec.fetch("kind")
    when "json" then render json: JSON.generate(data: rows)
    when "html" then render "pages/show", formats: [:html], locals: { title: spec.fetch("key"), rows: rows }
    when "csv" then send_data rows.map { |row| row.values.join(",") }.join("\n"), type: "text/csv", filename: "export.csv"
    when "file" then send_data rows.map { |row| row[:note] }.join, type: "application/octet-stream", filename: "part.bin"
    when "redirect" then redirect_to "https://assets.hospital.example/#{SecureRandom.hex(6)}"
    else head :no_content
    end
  end
end

module Lab
  def self.controller(name)
    *spaces, last = name.split("::")
    home = spaces.inject(Object) { |at, part| at.const_defined?(part, false) ? at.const_get(part) : at.const_set(part, Module.new) }
    home.const_defined?(last, false) ? home.const_get(last) : home.const_set(last, Class.new(ApplicationController))
  end

  CATALOGUE.fetch("endpoints").each do |spec|
    name, action = spec.fetch("key").split("#")
    controller(name).class_eval { define_method(action) { answer(spec) } }
  end
end

class ProbesController < ApplicationController
  def live
    render plain: "ok"
  end

  def metrics
    render plain: "ruby_gc_count #{GC.count}\nruby_heap_live_slots #{GC.stat(:heap_live_slots)}\n"
  end
end

Rails.application.routes.draw do
  get "/livez", to: "probes#live"
  get "/metrics", to: "probes#metrics"
  get "/portal", to: redirect("/clinics")
  Lab::CATALOGUE.fetch("endpoints").each do |spec|
    name, action = spec.fetch("key").split("#")
    path = spec.fetch("path").sub(".pdf", "")
    match path, to: "#{name.delete_suffix("Controller").underscore}##{action}", via: spec.fetch("method").downcase
  end
end

Lab::Ballast.load
