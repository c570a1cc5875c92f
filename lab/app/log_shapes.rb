# frozen_string_literal: true

require "action_controller/log_subscriber"
require "action_view/log_subscriber"

# The ways a production log is commonly set up.
module LogShapes
  # The message alone, as a tagged logger without a formatter of its own prints it.
  class Plain < ActiveSupport::Logger::SimpleFormatter; end

  # An ISO time and a level in front.
  class Stamped < ::Logger::Formatter
    def call(severity, time, _progname, message)
      "#{time.utc.iso8601(3)} #{severity.ljust(5)} #{message}\n"
    end
  end

  TRACE = ->(request) { request.headers["X-Amzn-Trace-Id"] }
  DYNO = ->(_request) { "web.1/#{Process.pid}" }
  PID = ->(_request) { "pid=#{Process.pid}" }
  TAGS = {
    "formatter" => [:request_id], "tagged" => [:request_id], "tagged_trace" => [:request_id, TRACE],
    "tagged_pid" => [PID, :request_id], "dyno" => [DYNO, :request_id], "stamped" => [:request_id],
    "formatter_ip" => %i[remote_ip request_id]
  }.freeze

  def self.configure(config, style)
    formatter = { "formatter" => ::Logger::Formatter, "formatter_ip" => ::Logger::Formatter, "stamped" => Stamped }.fetch(style, Plain)
    logger = ActiveSupport::Logger.new($stdout)
    logger.formatter = formatter.new
    config.log_level = :info
    config.log_tags = TAGS.fetch(style, [])
    config.logger = ActiveSupport::TaggedLogging.new(logger)
    config.after_initialize { OneLine.replace(style) } if style.start_with?("one_line")
  end

  # No line when a request starts.
  module Silent
    def call_app(_request, env)
      @app.call(env)
    ensure
      ActiveSupport::LogSubscriber.flush_all!
    end
  end

  # One line a request, written when it is over; the usual lines are not.
  class OneLine < ActiveSupport::LogSubscriber
    cattr_accessor :style

    def self.replace(style)
      self.style = style
      ActionController::LogSubscriber.detach_from(:action_controller)
      ActionView::LogSubscriber.detach_from(:action_view)
      Rails::Rack::Logger.prepend(Silent)
      attach_to :action_controller
    end

    def process_action(event)
      facts = facts_of(event)
      logger.info(style == "one_line_json" ? JSON.generate(facts) : facts.map { |key, value| "#{key}=#{value}" }.join(" "))
    end

    private

    def facts_of(event)
      given = event.payload
      {
        method: given[:method], path: given[:path].split("?").first, format: given[:format], controller: given[:controller],
        action: given[:action], status: given[:status] || 500, duration: event.duration.round(2),
        view: (given[:view_runtime] || 0).round(2), db: (given[:db_runtime] || 0).round(2),
        time: Time.now.utc.iso8601(3), request_id: given[:request_id], remote_ip: given[:remote_ip]
      }
    end
  end
end
