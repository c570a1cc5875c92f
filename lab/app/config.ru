# frozen_string_literal: true

require_relative "hospital"

run Rails.application
