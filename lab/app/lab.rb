# frozen_string_literal: true

require "securerandom"

# What makes the service a laboratory: the settings of one incident, its fault, and a trace of what really happened.
module Lab
  CONFIG = JSON.parse(File.read(ENV.fetch("LAB_CONFIG")))
  CATALOGUE = JSON.parse(File.read(File.join(__dir__, "catalogue.json")))
  ALPHABET = [*"a".."z", *"0".."9"].freeze

  # Log-normal with the given median.
  def self.spread(median, sigma)
    gauss = Math.sqrt(-2 * Math.log(1 - rand)) * Math.cos(2 * Math::PI * rand)
    median * Math.exp(sigma * gauss)
  end

  def self.burn(milliseconds)
    till = Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID) + milliseconds / 1000.0
    x = 1
    x = (x * 1_103_515_245 + 12_345) & 0x7fffffff while Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID) < till
  end

  def self.text(bytes)
    SecureRandom.hex(8).ljust(bytes, ALPHABET.sample(8).join)
  end

  def self.rows(kilobytes, note = 400)
    Array.new([(kilobytes * 1024 / (note + 60)).ceil, 1].max) { |i| { id: i, at: "2026-01-01T00:00:00Z", note: text(note) } }
  end

  # One line when a request enters and one when it leaves the application, written straight to the file.
  class Trace
    OUT = File.open(CONFIG.fetch("trace"), File::WRONLY | File::APPEND | File::CREAT)
    OUT.sync = true

    def self.say(event, **more)
      OUT.syswrite("#{JSON.generate(t: Time.now.to_f, pid: Process.pid, ev: event, **more)}\n")
    end

    def initialize(app)
      @app = app
    end

    def call(env)
      id = env["HTTP_X_REQUEST_ID"] ||= SecureRandom.uuid
      Trace.say("b", rid: id, method: env["REQUEST_METHOD"], path: env["PATH_INFO"], query: env["QUERY_STRING"])
      @app.call(env)
    ensure
      Trace.say("e", rid: id)
    end
  end

  # The memory a grown-up application takes before its first request.
  module Ballast
    def self.load
      @kept = Array.new(CONFIG.fetch("ballast_mb")) { SecureRandom.hex(32) * 16_384 }
    end
  end

  # Growth that no one request is to blame for: every request, whatever it asked, leaves a little behind.
  module Growth
    KB = CONFIG.fetch("growth_kb")
    CAP = CONFIG.fetch("growth_cap_mb") * 1024
    @kept = []
    @sum = 0
    @lock = Mutex.new

    def self.after_request
      return if KB.zero? || @sum >= CAP

      size = Lab.spread(KB, 0.5)
      @lock.synchronize do
        @kept << Lab.text((size * 1024).to_i)
        @sum += size
      end
    end
  end

  # The fault of this incident: who, when, how much.
  module Fault
    SPEC = CONFIG.fetch("fault")
    KEPT = []

    class << self
      # Rows that shall be the answer, or nil for the ordinary one.
      def apply(controller, spec)
        return unless SPEC["endpoint"] == spec["key"] && triggered?(controller)

        Trace.say("in", rid: controller.request.request_id, key: spec["key"])
        result = send(SPEC.fetch("type"), controller)
        Trace.say("out", rid: controller.request.request_id)
        result
      end

      private

      def triggered?(controller)
        trigger = SPEC.fetch("trigger")
        case trigger["type"]
        when "always" then true
        when "id" then trigger["ids"].include?(controller.params[trigger["name"]].to_s)
        else controller.params[trigger["name"]].to_s == trigger["value"]
        end
      end

      def large_response(_controller)
        megabytes = SPEC["mb_lo"] + rand * (SPEC["mb_hi"] - SPEC["mb_lo"])
        (megabytes * 2).ceil.times.flat_map do
          sleep(SPEC["chunk_ms"] / 1000.0)
          Lab.rows(512, 2000)
        end
      end

      def leak(_controller)
        size = Lab.spread(SPEC["kb"], 0.35)
        KEPT << (SPEC["shape"] == "objects" ? Lab.rows(size, 90) : Lab.text((size * 1024).to_i))
        nil
      end

      def huge_payload(controller)
        file = controller.params[:file]
        copy = file ? file.read.unpack("C*").each_slice(64).map(&:sum) : controller.params.to_unsafe_h.deep_dup
        sleep(SPEC["hold_ms"] / 1000.0)
        copy.size && nil
      end

      def hold(_controller)
        parts = Array.new((SPEC["mb"] * 4).ceil) { Lab.text(262_144).tap { sleep(SPEC["hold_ms"] / 8000.0 / SPEC["mb"]) } }
        sleep(SPEC["hold_ms"] / 2000.0)
        parts.size && nil
      end

      def runaway(_controller)
        mine = []
        loop do
          mine << Lab.rows(SPEC["mb_per_s"] * 1024 / 10.0, 900)
          sleep(0.1)
        end
      end

      def hang(_controller)
        sleep(SPEC["hang_ms"] / 1000.0)
      end

      def crash(_controller)
        case SPEC["how"]
        when "exit" then Process.exit!(SPEC["code"])
        else Process.kill(SPEC["how"], Process.pid) && sleep(5)
        end
      end
    end
  end

  # Background work inside the web process, on Active Job's thread pool.
  module Jobs
    KEPT = []
    SPEC = CONFIG.fetch("jobs")

    CATALOGUE.fetch("jobs").each do |name|
      Object.const_set(name, Class.new(ActiveJob::Base) do
        define_method(:perform) do |number|
          spec = SPEC.find { |job| job["name"] == name }
          sleep(Lab.spread(spec["ms"], 0.4) / 1000.0)
          if spec["kb"].positive?
            size = Lab.spread(spec["kb"], 0.3)
            Trace.say("job", key: name, kb: size.to_i, number: number)
            KEPT << Lab.rows(size, 900)
          end
        end
      end)
    end

    def self.maybe_enqueue
      SPEC.each { |job| Object.const_get(job["name"]).perform_later(rand(90_000)) if rand < job["share"] }
    end
  end
end
